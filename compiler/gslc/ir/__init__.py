"""The words every room shares: frozen records, integer bytes, no behaviour beyond arithmetic on themselves."""
