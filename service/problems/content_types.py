"""The content types an upload may have; `formats` has the reader of each, loaded only where bytes are parsed."""

UPLOAD_CONTENT_TYPES = ("application/x-npz", "application/x-npy")
