"""What backends share: opening models, exporting and quantising graphs, building engines. Imported by backends only, so that the heavy
libraries in here are imported by no run that does not use them."""
