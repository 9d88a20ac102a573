"""The pair on real servers, as its users meet it."""
