"""Importers: text of what people already have -> hosts and models of a cluster file. Pure: text in, records out."""
