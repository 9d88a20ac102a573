"""Turn what authors wrote into safe HTML. Pure."""
