from .aligning import Alignment as Alignment
from .aligning import align as align
from .fit import fit_joint as fit_joint
from .result import JointResult as JointResult
from .result import load_joint as load_joint
from .shared import shared_atoms as shared_atoms

__all__ = ["Alignment", "JointResult", "align", "fit_joint", "load_joint", "shared_atoms"]
