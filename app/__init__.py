"""The app: pages that show stored artifacts; it does not train."""
