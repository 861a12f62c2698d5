"""One vendor a module, its errors translated there."""
