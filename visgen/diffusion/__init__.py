"""An instruction-tuned diffusion model that answers with a picture, and the codecs that read the picture."""
