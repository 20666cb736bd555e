"""How long a layer takes per row, measured, so that submits of a prefill are neither long nor many."""

TARGET_SECONDS = 0.1  # what a submit is cut to be predicted to take


class Pace:
    """Unknown at first: then one layer a submit. A slow measurement counts at once, a fast one by half."""

    def __init__(self) -> None:
        self.seconds_per_row_and_layer: float | None = None

    def layers(self, rows: int) -> int:
        """Layers to submit at once, for `rows` rows."""
        if self.seconds_per_row_and_layer is None:
            return 1
        return max(1, int(TARGET_SECONDS / (self.seconds_per_row_and_layer * rows)))

    def learn(self, seconds: float, rows: int, layers: int) -> None:
        """Remember that `layers` layers of `rows` rows took `seconds`."""
        measured = max(seconds, 1e-6) / (rows * layers)
        known = self.seconds_per_row_and_layer
        self.seconds_per_row_and_layer = measured if known is None else max(measured, (known + measured) / 2)
