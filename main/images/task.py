"""What the shared training loop asks of images: network, losses, validation, settings."""

from __future__ import annotations

from dataclasses import asdict, dataclass

import torch
from torch.nn import functional

from main.images.detect import measure_background
from main.images.features import N_FEATURES, N_FRAME_FEATURES, make_features
from main.models import build
from main.models.images.networks import ORIGINALS
from main.utils.config import check_options, option
from main.utils.weights import load_weights
from simulations.image_sets import LABEL_OF_PX, fit_line_through_origin

CAMERA_ERROR = 0.08  # standard deviation of the log of gain and read noise that the network is told, against the truth
PSF_ERROR = 0.02  # the same of the width of the point spread function
RELATIVE_WEIGHT = 0.5  # of the absolute error of log10 D beside the likelihood
PUBLISHED_SCALE = 1e-3  # of camera counts, in the original method
NORMAL_90 = 1.645  # half width of the 90 % interval of a normal distribution, standard deviations


@dataclass(frozen=True)
class ImageOptions:
    """What network of images to train. Every field is also an option of `train_images.py`."""

    model: str = option("blur_net", "Network.", ("blur_net", *ORIGINALS))
    hidden: int = option(96, "Units of each frame.", within=(8, 1024))
    init: str = option("", "Weights to start from (shipped name or folder) instead of random ones.")
    as_published: bool = option(
        False,
        "Target and loss of the original method: D that a line through the origin gives the track, 1e3 nm^2/s; mean "
        "squared error; camera counts / 1000; one D; learning rate 1e-6 without weight decay. Its networks only.",
    )

    def __post_init__(self):
        check_options(self)
        if self.model not in ("blur_net", *ORIGINALS):
            raise ValueError(f"--model {self.model}: expected one of blur_net, {', '.join(ORIGINALS)}")
        if self.as_published and self.model not in ORIGINALS:
            raise ValueError(f"--as-published: --model is {self.model}, expected one of {', '.join(ORIGINALS)}")


class ImageTask:
    """The task of images for `main.utils.training.fit`."""

    def __init__(self, options: ImageOptions):
        self.options = options
        self.config = {"family": "images", "body": options.model}
        if options.model in ORIGINALS:
            self.config |= {"n_outputs": 1 if options.as_published else 2}
        else:
            self.config |= {"hidden": options.hidden}
            self.config |= {"n_frame_features": N_FRAME_FEATURES, "n_features": N_FEATURES}

    def network(self):
        """Make the network, with random weights or those of `options.init`."""
        net = build(self.config)
        if self.options.init:
            net.load_state_dict(load_weights(self.options.init)[0]["d"].state_dict())
        return net

    def forward(self, net, batch: dict) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the output of the network (B, 2), in px^2/frame, and log10 of the true D (B,).

        As published: D (B, 1) and the label (B,), 1e3 nm^2/s.
        """
        if self.options.as_published:
            return net(batch["images"] * PUBLISHED_SCALE).float(), self.published_label(batch)
        if self.options.model in ORIGINALS:
            return net(scale_images(batch["images"])).float(), true_log10_d(batch)
        with torch.no_grad():
            told = tell(batch)
            inputs = make_features(told)
        shift = 2 * told["psf_px"].log10()
        out = net(*inputs.values()).float() + torch.stack([shift, torch.zeros_like(shift)], dim=1)
        return out, true_log10_d(batch)

    def losses(self, net, batch: dict) -> dict[str, torch.Tensor]:
        """Negative log-likelihood of log10 D under a normal distribution, and absolute error; scalar tensors."""
        out, truth = self.forward(net, batch)
        return self.score(out, truth)

    def score(self, out: torch.Tensor, truth: torch.Tensor) -> dict[str, torch.Tensor]:
        """Losses of outputs (B, 2) for true log10 D (B,); of outputs (B, 1) for the published label."""
        if out.shape[1] == 1:
            return {"loss": functional.mse_loss(out[:, 0], truth)}
        miss, log_sd = out[:, 0] - truth, out[:, 1]
        likelihood = (0.5 * (miss / log_sd.exp()) ** 2 + log_sd).mean()
        error = functional.smooth_l1_loss(out[:, 0], truth, beta=0.1)
        return {"nll": likelihood, "error": error, "loss": likelihood + RELATIVE_WEIGHT * error}

    def validate(self, net, batches: list[dict]) -> dict[str, float]:
        """Losses, root mean square error of log10 D, and share of 90 % intervals that hold the truth."""
        generator = torch.get_rng_state()
        torch.manual_seed(0)  # what the network is told of the camera is the same at each validation
        outs, truths = zip(*(self.forward(net, batch) for batch in batches), strict=True)
        torch.set_rng_state(generator)
        out, truth = torch.cat(outs), torch.cat(truths)
        if self.options.as_published:
            return {name: float(value) for name, value in self.score(out, truth).items()}
        miss = out[:, 0] - truth
        held = (miss.abs() < NORMAL_90 * out[:, 1].exp()).float().mean()
        figures = {name: float(value) for name, value in self.score(out, truth).items()}
        return figures | {"rmse": float(miss.square().mean().sqrt()), "coverage": float(held)}

    def parameter_groups(self, net) -> list[list[torch.nn.Parameter]]:
        """All parameters together."""
        return [list(net.parameters())]

    def settings(self) -> dict:
        """Options, and the configuration of the network; as_published only if it is set, as in older runs."""
        given = asdict(self.options)
        if not given["as_published"]:
            del given["as_published"]
        return given | {"net": self.config}

    def published_label(self, batch: dict[str, torch.Tensor]) -> torch.Tensor:
        """Label of the original method, (B,), 1e3 nm^2/s as it counts them; see `simulations.image_sets`."""
        if "label" in batch:
            return batch["label"]
        path = batch["subpositions"].flatten(1, 2)
        d = fit_line_through_origin(path.double().cpu().numpy()) * LABEL_OF_PX
        return torch.as_tensor(d, dtype=torch.float32, device=path.device)


def scale_images(images: torch.Tensor) -> torch.Tensor:
    """Take off the background of images (B, F, H, W), in units of its standard deviation, and compress bright spots.

    Gain and offset of the camera cancel.
    """
    middle, sd = (value[:, None, None, None] for value in measure_background(images))
    return torch.asinh((images - middle) / sd)


def tell(batch: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Return a batch of the stream as a network is told of it: camera and spot width are known within an error."""
    n, device = len(batch["d"]), batch["d"].device
    errors = {"gain": CAMERA_ERROR, "read_noise": CAMERA_ERROR, "psf_px": PSF_ERROR}
    known = batch | {"psf_px": batch["psf_sigma"] / batch["pixel_size"]}
    return known | {name: known[name] * torch.exp(sd * torch.randn(n, device=device)) for name, sd in errors.items()}


def true_log10_d(batch: dict[str, torch.Tensor]) -> torch.Tensor:
    """log10 of the true D, px^2/frame, (B,)."""
    return (batch["d"] * batch["frame_interval"] / batch["pixel_size"] ** 2).log10()
