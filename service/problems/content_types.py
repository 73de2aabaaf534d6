"""The content types an upload may have; `formats` has the reader of each, loaded only where bytes are parsed."""

NPZ = "application/x-npz"
NPY = "application/x-npy"
MATRIX_MARKET = "text/x-matrix-market"
PARQUET = "application/vnd.apache.parquet"
SAFETENSORS = "application/x-safetensors"

UPLOAD_CONTENT_TYPES = (NPZ, NPY, MATRIX_MARKET, PARQUET, SAFETENSORS)
