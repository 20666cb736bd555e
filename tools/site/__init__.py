"""What `build.py web` is made of: the steps from sources and packages to the static site in build/site."""
