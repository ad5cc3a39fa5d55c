"""What the tracks of a file say of themselves before they are analysed: wrong points, drift, localisation error."""
