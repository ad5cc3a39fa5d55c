# docker build -t tracewise .
# docker run --rm --user "$(id -u):$(id -g)" -v "$PWD:/data" tracewise infer tracks.csv --out results
FROM python:3.12-slim

# The CPU build of torch. For the build with CUDA:
# docker build --build-arg TORCH_INDEX=https://pypi.org/simple -t tracewise .   (run with --gpus all)
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu

WORKDIR /src
COPY pyproject.toml requirements.txt README.md LICENSE ./
COPY simulations simulations
COPY main main
RUN pip install --no-cache-dir --extra-index-url "$TORCH_INDEX" .

# Caches of matplotlib and others: a user given by number has no home folder.
ENV HOME=/tmp
RUN useradd --create-home tracewise && mkdir /data && chown tracewise /data
USER tracewise
WORKDIR /data
ENTRYPOINT ["tracewise"]
CMD ["--help"]
