"""The catalogue (system.md section 5): one module for a failure or a family of them."""
