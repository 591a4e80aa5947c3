"""Values as octets (ASHRAE 135 clause 20.2), as texts, and as people spell them."""
