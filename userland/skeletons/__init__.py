"""What `kernos … new` writes: small packages that work as they are, to be changed from there."""
