"""The app: thin pages on the stored artifacts; it never trains."""
