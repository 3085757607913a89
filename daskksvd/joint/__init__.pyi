from .fit import fit_joint as fit_joint
from .result import JointResult as JointResult
from .result import load_joint as load_joint

__all__ = ["JointResult", "fit_joint", "load_joint"]
