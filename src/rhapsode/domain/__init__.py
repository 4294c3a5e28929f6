"""What Rhapsode is about: frozen data and rules, standard library only, no input or output."""
