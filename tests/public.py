"""What is public: what classes say of themselves, and what they have of others here."""


def members(found):
    """What a class has by name, also of classes of the package that it builds on."""
    here = [base for base in reversed(found.__mro__) if base.__module__.startswith("daskksvd")]
    return {key: member for base in here for key, member in vars(base).items()}
