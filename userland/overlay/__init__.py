"""What commands changed in folders that stayed as they are: kept, shown, applied, discarded."""
