"""How the encoder of scenes that the package has was trained and judged; runs from a checkout.

python -m benchmarks.scenes_encoder.train --out FOLDER
python -m benchmarks.scenes_encoder.card FOLDER
"""
