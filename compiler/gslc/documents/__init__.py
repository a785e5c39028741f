"""The JSON forms of the records that leave the program: plan, lock, manifest. Both ways, canonical."""
