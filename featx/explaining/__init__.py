"""Why a model says what it says of an image: where in the picture its scores come from."""
