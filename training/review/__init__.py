"""Expert review: blinded pairs for readers, and what their answers come to."""
