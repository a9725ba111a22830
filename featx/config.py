"""Every default, once, with where it comes from."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any

# Networks by torchvision's names, and the channels after their last stage, which are the features:
# He et al. 2016, table 1; ResNeXt: Xie et al. 2017; Wide ResNet: Zagoruyko and Komodakis 2016.
BACKBONES = {
    "resnet18": 512,
    "resnet34": 512,
    "resnet50": 2048,
    "resnet101": 2048,
    "resnet152": 2048,
    "resnext50_32x4d": 2048,
    "resnext101_32x8d": 2048,
    "resnext101_64x4d": 2048,
    "wide_resnet50_2": 2048,
    "wide_resnet101_2": 2048,
}
BACKBONE = "resnet50"
FEATURE_DIM = BACKBONES[BACKBONE]
IMAGENET_CLASSES = 1000

# The closed sets, once: what an option, an argument or a recipe may say.
CLASSIFIERS = ("imagenet", "logreg", "linear", "svm", "ridge", "knn", "centroid")  # featx.heads.*
MULTILABEL_CLASSIFIERS = ("logreg", "linear", "svm", "ridge")  # that know several labels an image
TRAINED = ("fc", "last3", "layer4", "all")  # of the network, by fine-tuning
# What candidates cost, the cheapest first: a head, a head that learned from views, a part of the
# network fine-tuned, all of it.
COST_TIERS = ("frozen", "views", "part", "all")
SCALINGS = ("none", "standard", "l2", "center-l2")
SCALES = (*SCALINGS, "auto")  # auto: what chooses the value chooses the scaling, too
CHOOSE_ON = ("folds", "val")
CLASS_WEIGHTS = ("none", "balanced")
DEVICES = ("auto", "cpu", "cuda", "mps", "xpu")
ENGINES = ("auto", "torch", "openvino")
PRECISIONS = ("fp32", "tf32", "bf16", "fp16", "int8", "auto")
STORAGES = ("float32", "float16")
# At full size or large JPEGs at reduced scale, by libjpeg-turbo and torch or by Pillow alone.
DECODES = ("exact", "pillow", "fast", "pillow-fast")
LAYERS = ("layer1", "layer2", "layer3", "layer4")  # a ResNet's stages
POOLS = ("avg", "max")  # of a stage's output over its places
LAST_LAYER, ALL_LAYERS = "last", "all"
AUTO_LAYERS = (
    "auto"  # of a head: chosen among these, as far as a file has them, fewer columns first
)
LAYER_SETS = (LAST_LAYER, *POOLS, ALL_LAYERS)
DEPTHS = ("auto", "full", "used")  # of samples of 16 bits
PROFILES = ("auto", "srgb", "ignore")  # of colours
FRAMINGS = ("none", "linear-eval")  # of the pixels
PROTOCOLS = (*FRAMINGS, "paper")  # of a comparison
ON_ERROR = ("skip", "fail")
# What a row of corrected labels says of a picture: its label is right, it is of another class, that
# cannot be told, it is not to be used.
ANSWERS = ("right", "is", "unsure", "leave out")
# Images per forward pass in extraction. The last one is padded: on a CPU, where 4, 8, 16 and 32 are
# equally fast (docs/benchmarks.md), fewer waste less.
BATCH_SIZE = 16
CUDA_BATCH_SIZE = 128
# Images that a folder must have for --precision auto to try int8: what judges it takes as long as
# some 650 images save at twice the speed.
INT8_FOLDER = 1000
# What processes that decode must save to be started, in seconds: some three are their imports.
PROCESSES_SECONDS = 5.0
# So many are started unless told otherwise: each takes memory, and twice sixteen feed the fastest
# network that was measured (docs/gpu.md).
MOST_PROCESSES = 32
MAX_BATCH_SIZE = 1 << 16  # 39 GB of pixels: no forward pass is larger
EPOCHS = 15  # the paper's
TRAIN_BATCH_SIZE = 32
# What the first and each later epoch of a baseline take, the prefix cache on, as multiples of the
# network's seconds in extracting the same images: docs/benchmarks.md. "all" was not measured; going
# back through the whole takes about twice what going forward does.
EPOCH_PASSES = {"fc": (1.4, 1.4), "last3": (1.6, 0.1), "layer4": (2.5, 0.5), "all": (4.2, 4.2)}
HEAD_LEARNING_RATE = 1e-3  # Adam's usual step, for a layer that starts from random numbers
TUNE_LEARNING_RATE = 1e-4  # for pretrained layers: smaller, so as not to wreck what they know
# What val chooses from, each about three times the one before. Adam moves every number by about its
# rate a step, so that from 1e-3, its authors' own (Kingma and Ba 2015), a layer that begins with
# random numbers needs more where epochs or images are few; pretrained ones from a tenth of that up.
HEAD_LEARNING_RATES = (1e-3, 3e-3, 1e-2)
TUNE_LEARNING_RATES = (1e-4, 3e-4, 1e-3)
# Where pretrained layers are tuned an epoch is dear: successive halving (Jamieson and Talwalkar
# 2016). After such a share of the epochs so many of the rates go on, by the lowest loss that val
# has had so far: batch norm's running statistics follow late what moves fast, so that val says
# little of the first epochs and leaps in later ones (docs/benchmarks.md).
RACE = ((0.4, 2), (0.6, 1))

# Kornblith et al. 2019, appendix A.3: 45 values, evenly spaced in the logarithm.
C_GRID = tuple(10.0 ** (k / 4 - 6) for k in range(45))
# Each from the simplest classifier to the most flexible; of equals the first is taken.
SVM_GRID = tuple(10.0 ** (k / 2 - 6) for k in range(15))
RIDGE_GRID = tuple(10.0 ** (6 - k / 2) for k in range(15))
NEIGHBOURS_GRID = (50, 30, 20, 15, 10, 7, 5, 3, 1)
CENTROID_GRID = (2.0, 1.0, 0.5, 0.2, 0.1, 0.0)
# Of L-BFGS. scikit-learn's defaults (100 steps, 1e-4) stop short of the optimum on raw features.
MAX_ITER = 5000
TOLERANCE = 1e-6  # largest component of the mean loss's gradient
SHARE_TOLERANCE = 0.02  # of a split: so far may a class's share be off that whole groups decide
FOLDS = 5  # that choose; more are dearer, and differ less than other folds of the same images do
# A path over C ends once the log-loss that chooses has been worse than its best by this share for
# so many values in a row. Past the optimum it rises slowly: on scikit-learn's digits and on the ten
# animals by a fiftieth within a decade, while one value's fit hardly differs from the next one's.
PATH_MARGIN = 0.02
PATH_PATIENCE = 3
SAME_LOSS = 1e-6  # nats: log-losses that differ by less are equal
TRIAL_TOLERANCE = 1e-5  # of svm's fits that only choose
TRIAL_C = 100.0  # below it logistic regression's fits that only choose have a coarser tolerance
MAX_REPEATS = 100  # of cross-validation: more tell nothing more
FEW_IMAGES = 300  # labelled ones, below which one split says little

CONFIDENCE = 0.95
SIGNIFICANT = 0.05  # below it two candidates count as different
POWER = 0.8  # the share of test sets in which a difference that is said to be found is found
MARGIN = 2.0  # points of accuracy that count as no difference, and that the cheaper may lose
JUDGEMENTS = ("equal", "better", "worse", "unknown")  # of a pair, from the difference's interval
BOOTSTRAPS = 2000
# A place at the edge decides a class where in such a share of its images its evidence stands out
# further than in such a share of other classes' images (docs/explaining.md).
SHORTCUT_QUANTILE = 0.99
SHORTCUT_SHARE = 0.25
CALIBRATION_BINS = 15  # Guo et al. 2017
CURVE_SIZES = (1, 2, 5, 10, 20)  # train images per class
CURVE_DRAWS = 5
# What to label next, and what it would bring.
NEXT_IMAGES = 50  # that are proposed at once
FORECAST_SHARES = (0.125, 0.25, 0.5, 0.75, 1.0)  # of the labels, that a curve is measured at
FORECAST_DRAWS = 10  # of labels of each size, over all folds
FORECAST_REACH = (
    4  # times the labels that were measured: beyond, a law through few points is a guess
)
FORECAST_FEW = 10  # labels a class, on average, below which a law says too little
FORECAST_GAIN = 0.005  # of accuracy, a fraction: a round of labels that adds less does not pay
RANDOM_DRAWS = 5  # of splits that divide groups, beside the one that does not
# Strangers: what a score of them is fitted from, and how it is chosen.
NEAREST_STRANGER = 1  # which neighbour's distance counts; of few rows more say less
NEAREST_KEPT = 5000  # known rows at most that a model file keeps: 20 MB of 2048 float16
SCALED_SHARE = 0.15  # of a row's activations, the largest: the percentile 85 of Xu et al. 2024
RESIDUAL_DIMS = 1000  # of the principal space at most: Wang et al. 2022, of 2048 features
STRANGER_CLASSES = 20  # that are left out, one after the other, to choose; of more, so many drawn
# That calibrate: what learned from a fifth less is visibly less sure of what it did not see, and
# known images would be refused and covered otherwise than asked (docs/unknown.md).
STRANGER_FOLDS = 20
BEYOND = 10  # held images beyond a limit at a rate, for a class to have a limit of its own in sets
# What a comparison says of the head that it chooses.
UNKNOWN_RATES = (0.01, 0.05)  # of known images that are refused
SET_COVERAGES = (0.8, 0.9, 0.95)
SAID_RATE, SAID_COVERAGE = 0.05, 0.9  # of these, what sentences are about
RANK_PRECISION = 0.95  # of the answers at a rank of a taxonomy, such a share is right
COVERAGE_POINTS = 100  # of the curve of accuracy against coverage, at most
SAME_AUROC = 0.002  # mean areas that differ by less are equal
DRIFT_RATE = 0.01  # of folders like the known images that are called drift: 4 nights in a year
DRIFT_CLASS = 5  # held images taken for a class, for new ones to be compared with these alone
UNUSUAL = 5  # of the strangest images, that are named
NEAREST_SHOWN = 5  # rows, to an image that is asked about
NEAREST_TRAIN = 3  # train images beside a mistake
MAX_LABELS = 5000  # where an image has several: more are captions, or numbers
MAX_SKIPPED = 0.05  # fraction of images that may be skipped before the exit code says so

# Where features are more than memory holds.
MEMORY_SHARE = 0.6  # of the memory that the process may use, unless --max-memory says otherwise
BLOCK_BYTES = 1 << 24  # of float32 rows that are read together: 2048 rows of 2048 features
SHUFFLE_CHUNK = 16  # rows that are read together in a random place
SHUFFLE_BUFFER = 4096  # rows among which batches are drawn: 256 chunks

SCHEMA = 2  # of the feature file
# What a killed extraction repeats at most.
PART_IMAGES = 512
PART_SECONDS = 30.0
MODEL_SCHEMA = 2
PLAN_SCHEMA = 1
PLAN_SHARD_IMAGES = 10_000  # of a shard that one machine computes

# Between two lines of the log that say how far a long run is, where no bar says so.
PROGRESS_SECONDS = 30.0

PAGE_BYTES = 50_000_000  # of an audit's page, beyond which its pictures lie in a folder beside it

CONNECT_SECONDS = 8.0  # before a host counts as out of reach

IMAGE_SUFFIXES = frozenset(
    {
        ".avif", ".bmp", ".gif", ".heic", ".heif", ".hif", ".jfif", ".jpe", ".jpeg", ".jpg",
        ".jif", ".jxl", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp",
    }
)  # fmt: skip
# Of archives whose images are read in place, by the end of a name, in any case.
ARCHIVE_SUFFIXES = (".tar", ".tar.gz", ".tgz", ".zip", ".parquet")
# What Pillow is allowed to open, whatever a file is called.
IMAGE_FORMATS = ("AVIF", "BMP", "GIF", "JPEG", "PNG", "PPM", "TIFF", "WEBP")
BACKGROUND = (255, 255, 255)  # what transparent pixels are laid on
# Of a picture that is decoded, unless FEATX_MAX_PIXELS says otherwise: where Pillow, too, stops
# warning of a decompression bomb and refuses. In RGB that is half a gigabyte.
MAX_PIXELS = 178_956_970
# What a label beside an image is called, by columns of Parquet and in WebDataset's json.
LABEL_COLUMNS = ("label", "labels", "class", "cls")
# Of archives, which may be made to fill memory or disk: members, and bytes of one of them, which is
# what the largest picture takes uncompressed with four channels of 16 bits.
MAX_MEMBERS = 20_000_000
MAX_MEMBER_BYTES = 8 * MAX_PIXELS
# What is unpacked to more than so many bytes, and to so many times what it takes packed, is taken
# for a bomb: pictures of one colour, which come near to deflate's own limit of 1032, are small.
BOMB_BYTES = 1 << 28
BOMB_RATIO = 200
# Of a PNG's comments and profile, unpacked: Pillow's own megabyte calls good pictures damaged.
MAX_TEXT_BYTES = 1 << 26

# Of files of parameters that torch.save writes; .tar is PyTorch's own checkpoint.pth.tar.
TORCH_SUFFIXES = (".pth", ".pt", ".tar", ".ckpt", ".bin")

SPLITS = ("train", "val", "test")
PARTS = (*SPLITS, "all")  # of a feature file: a split, or every labelled image
# What splits are called by folders and manifests, in any case. "eval" is not among them: some call
# their val so, and some their test.
SPLIT_SPELLINGS = {
    spelling: split
    for split, spellings in {
        "train": ("train", "training"),
        "val": ("val", "valid", "validation", "validate", "dev", "devel", "development"),
        "test": ("test", "testing"),
    }.items()
    for spelling in spellings
}

# Columns of a CSV file of boxes, which may have a label beside: left, top, width and height in
# pixels of the upright picture, or in shares of its width and height.
BOX_COLUMNS = ("path", "x", "y", "w", "h")
BOX_SHARES = ("rel_x", "rel_y", "rel_w", "rel_h")
BOX_FILE_BYTES = 1 << 30  # of JSON, whose text is kept in memory
# MegaDetector's: which categories there are where a file does not say it, the one that is wanted
# unless told otherwise, and the confidence that its guides and its command-line tool begin from.
DETECTED = {"1": "animal", "2": "person", "3": "vehicle"}
DETECTION_CATEGORY = "animal"
DETECTION_CONFIDENCE = 0.2

# What a folder of images is called, in any case, whose classes nobody has said yet.
UNLABELLED_FOLDERS = frozenset({"unlabelled", "unlabeled"})

# What systems and programs leave in folders, without regard to case: nobody's images. So is what
# begins with ".trash" (bins of disks) and "._" (AppleDouble).
SYSTEM_FOLDERS = frozenset(
    {
        "$recycle.bin", "#recycle", "#snapshot", "@eadir", "@recycle", "__macosx", "__pycache__",
        "lost+found", "recycler", "system volume information", "@__thumb", ".appledouble",
        ".fseventsd", ".ipynb_checkpoints", ".spotlight-v100", ".temporaryitems", ".thumbnails",
    }
)  # fmt: skip
SYSTEM_FILES = frozenset(
    {
        ".ds_store", ".directory", ".nomedia", ".picasa.ini", "desktop.ini", "ehthumbs.db",
        "icon\r", "picasa.ini", "thumbs.db", "zbthumbnail.info",
    }
)  # fmt: skip
# What lies beside images, by suffix.
OTHER_FILES = {
    "images of other formats": (
        ".apng", ".cur", ".dib", ".exr", ".hdr", ".icns", ".ico", ".j2k", ".jp2", ".jpx",
        ".pbm", ".pcx", ".pnm", ".tga", ".xbm", ".xpm",
    ),
    "raw photographs": (
        ".3fr", ".arw", ".cr2", ".cr3", ".dng", ".erf", ".iiq", ".nef", ".nrw", ".orf", ".pef",
        ".raf", ".raw", ".rw2", ".srw", ".x3f",
    ),
    "medical images": (".dcm", ".dicom", ".mha", ".mhd", ".nii", ".nrrd"),
    "microscopes' images": (".czi", ".lif", ".lsm", ".nd2", ".ndpi", ".svs", ".vsi"),
    "drawings and layered images": (".ai", ".eps", ".kra", ".psd", ".svg", ".xcf"),
    "videos": (
        ".3gp", ".avi", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".mts", ".webm", ".wmv",
    ),
    "sounds": (".aac", ".flac", ".m4a", ".mp3", ".ogg", ".wav"),
    "archives": (".7z", ".bz2", ".gz", ".rar", ".tar", ".tgz", ".xz", ".zip"),
    "tables": (".csv", ".ods", ".parquet", ".tsv", ".xls", ".xlsx"),
    "annotations and text": (
        ".htm", ".html", ".ini", ".json", ".jsonl", ".log", ".md", ".rst", ".toml", ".txt", ".xml",
        ".xmp", ".yaml", ".yml",
    ),
    "documents": (".doc", ".docx", ".odt", ".pdf", ".ppt", ".pptx", ".rtf"),
    "arrays and models": (
        ".h5", ".hdf5", ".mat", ".npy", ".npz", ".onnx", ".pkl", ".pt", ".pth", ".safetensors",
    ),
    "programs": (".bat", ".exe", ".ipynb", ".js", ".m", ".py", ".r", ".sh"),
    "unfinished downloads and copies": (
        ".bak", ".crdownload", ".download", ".old", ".part", ".partial", ".tmp",
    ),
}  # fmt: skip


@dataclass(frozen=True)
class Preprocessing:
    """How an image becomes the network's input. It belongs to the weights, not to the user.

    Parameters
    ----------
    resize : int
        Length of the short side after resizing, in pixels.
    crop : int
        Side of the centre crop, in pixels; at most `resize`.
    mean, std : tuple of 3 floats
        Per channel (RGB), subtracted and divided by, on values in [0, 1].
    interpolation : {"bilinear", "bicubic"}
        Pillow's filter, which is antialiased.
    view : int
        0: the centre crop. From 1: the random crop and flip of that number, which the image's
        content decides.
    """

    resize: int
    crop: int
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    interpolation: str = "bilinear"
    view: int = 0

    def to_dict(self) -> dict[str, Any]:
        """The same as plain JSON values; `view` only where it is one."""
        values = {k: list(v) if isinstance(v, tuple) else v for k, v in asdict(self).items()}
        if not self.view:
            del values["view"]
        return values

    def frame(self, protocol: str = "none", view: int = 0) -> Preprocessing:
        """As a protocol (one of `FRAMINGS`) has it, in one of its views.

        "linear-eval" resizes the short side to the crop itself, bicubic, and keeps the weights' own
        mean and deviation: Kornblith et al. 2019, and appendix B.8 of SimCLR (Chen et al. 2020).
        """
        if protocol == "linear-eval":
            return replace(self, resize=self.crop, interpolation="bicubic", view=view)
        return replace(self, view=view)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Preprocessing:
        """The inverse of `to_dict`; raises KeyError, TypeError or ValueError on anything else."""
        r, g, b = (float(v) for v in values["mean"])
        sr, sg, sb = (float(v) for v in values["std"])
        made = cls(
            resize=int(values["resize"]),
            crop=int(values["crop"]),
            mean=(r, g, b),
            std=(sr, sg, sb),
            interpolation=str(values["interpolation"]),
            view=int(values.get("view", 0)),
        )
        if not 1 <= made.crop <= made.resize or min(made.std) <= 0 or made.view < 0:
            raise ValueError(f"impossible preprocessing: {values}")
        if made.interpolation not in ("bilinear", "bicubic"):
            raise ValueError(f"unknown interpolation: {made.interpolation}")
        return made


# torchvision's own: ImageClassification(crop_size=224[, resize_size=232]), normalised with the
# channel means and deviations of ImageNet's training images.
TORCHVISION_V1 = Preprocessing(224 + 32, 224, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
TORCHVISION_V2 = Preprocessing(232, 224, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
# Keras' "caffe" mode: 255 * rgb - (123.68, 116.779, 103.939), with no division by a deviation.
KERAS = Preprocessing(
    256, 224, (123.68 / 255, 116.779 / 255, 103.939 / 255), (1 / 255, 1 / 255, 1 / 255)
)
