"""The nine contracts between the components, one file each, and the ports beside them."""
