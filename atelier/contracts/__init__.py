"""Tests of the ports: promises that every component must keep, ours or one in its place.

    pytest --pyargs atelier.contracts --component enhancement=mine:create

runs from any folder and tests the components that `--component` names; without it, all of ours.
Needs `pip install 'atelier[contracts]'`.
"""
