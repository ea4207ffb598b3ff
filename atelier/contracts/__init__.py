"""Tests of the ports: how any component must behave, ours or one that takes its place.

    pytest --pyargs atelier.contracts --component enhancement=mine:create

runs from any folder and tests the components that `--component` names; without it, all of ours.
Needs `pip install 'atelier[contracts]'`.
"""
