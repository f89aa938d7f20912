"""A trained model: what a sweep ends in."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from fastopt.errors import SpecError
from sweeps.common.resources import check_path
from sweeps.models import files, texts
from sweeps.models.columns import Columns
from sweeps.models.links import chosen
from sweeps.models.network import Network
from sweeps.models.predictor import Predictor
from sweeps.models.rows import features_of


class Model(Predictor):
    """A trained network with what goes before it and what its outputs mean.

    :meth:`sweeps.SweepResult.model` makes one, :meth:`load` reads one from a file.

    Parameters
    ----------
    network : Network
        Layers and parameters.
    classes : ndarray, optional
        Labels by their numbers; None in a regression.
    preprocess : Columns or transformer, optional
        What makes features of rows: :class:`sweeps.models.columns.Columns` (plain data) or any
        fitted scikit-learn transformer.
    feature_names : sequence of str, optional
        Columns of the table that it was trained with.
    target_name : str, optional
        The column that it predicts, which tables may have, and which is left out.
    kinds : dict of str to str, optional
        Of a table: what each column holds, see :mod:`sweeps.problems.columns`. It is read so, and
        other columns do not matter.
    about : dict, optional
        What is told of it: ``problem``, ``trial_id``, ``params`` and ``metrics``.

    Examples
    --------
    >>> from sweeps import problems, sweep
    >>> result = sweep(problems.iris(hidden=(8,)), {"lr": [0.01, 0.1]}, epochs=20)
    >>> model = result.model()
    >>> model
    Model of iris: 4-8-3 relu, 67 parameters, float32; softmax_cross_entropy, 3 classes
    >>> {name: a.shape for name, a in model.weights.items()}["layers.0.weight"]
    (4, 8)
    """

    def __init__(
        self,
        network: Network,
        *,
        classes: np.ndarray | None = None,
        preprocess: Any = None,
        feature_names: Sequence[str] | None = None,
        target_name: str | None = None,
        kinds: Mapping[str, str] | None = None,
        about: Mapping[str, Any] | None = None,
    ) -> None:
        self.network, self.preprocess = network, preprocess
        self.classes = None if classes is None else np.array(classes)
        self.feature_names = None if feature_names is None else list(feature_names)
        self.target_name, self.kinds = target_name, None if kinds is None else dict(kinds)
        self.about = dict(about or {})

    def _linked(self, X: Any) -> np.ndarray:
        return self.network.linked(self.transform(X))

    def predict(self, X: Any) -> np.ndarray:
        """Return what is predicted for each row, by the outputs themselves, as in training."""
        if self.task == "regression":
            return super().predict(X)
        return chosen(self.task, self.outputs(X), 0.0, self.classes)

    predict.__doc__ = Predictor.predict.__doc__

    def outputs(self, X: Any) -> np.ndarray:
        """Return the outputs of the last layer: logits, margins, or numbers before the link.

        Parameters
        ----------
        X : DataFrame or array_like
            As for :meth:`predict`.

        Returns
        -------
        ndarray, shape (n, outputs)
            In the dtype of the arithmetic. This is what the modules of :meth:`to_torch` return.

        Examples
        --------
        >>> from sweeps import problems, sweep
        >>> result = sweep(problems.iris(hidden=(8,)), {"lr": [0.1]}, epochs=2)
        >>> result.model().outputs([[5.1, 3.5, 1.4, 0.2]]).shape
        (1, 3)
        """
        return self.network.outputs(self.transform(X))

    def transform(self, X: Any) -> np.ndarray:
        """Return the features that the network takes: rows after ``preprocess``.

        Examples
        --------
        >>> from sweeps import problems, sweep
        >>> problem = problems.iris(hidden=(8,))
        >>> model = sweep(problem, {"lr": [0.1]}, epochs=2).model()
        >>> raw = problem.X * problem.scale + problem.mean
        >>> bool(abs(model.transform(raw) - problem.X).max() < 1e-6)
        True
        """
        network = self.network
        names = self.feature_names, self.target_name
        made = network.n_features, network.theta.dtype
        return features_of(X, self.preprocess, *names, *made, self.kinds)

    def decision_function(self, X: Any) -> np.ndarray:
        """Return the confidence in each class, as scikit-learn's classifiers do.

        Returns
        -------
        ndarray
            Of two classes ``(n,)``, positive for the second; of more, ``(n, n_classes)``.

        Raises
        ------
        SpecError
            It is a regression.

        Examples
        --------
        >>> from sweeps import problems, sweep
        >>> model = sweep(problems.iris(hidden=(8,)), {"lr": [0.1]}, epochs=2).model()
        >>> model.decision_function([[5.1, 3.5, 1.4, 0.2]]).shape
        (1, 3)
        """
        if not self.is_classifier:
            raise SpecError("decision_function: a regression has none; use predict(X)")
        z = self.outputs(X)
        if self.task == "multilabel" or z.shape[1] > 2:
            return z
        return z[:, 0] if z.shape[1] == 1 else z[:, 1] - z[:, 0]

    @property
    def weights(self) -> dict[str, np.ndarray]:
        """The parameters by name, read-only: ``layers.0.weight``, ``layers.0.bias``, ...

        Gain and shift of layer norms are ``norms.0.weight`` and ``norms.0.bias``, as torch's; the
        tables of columns that are embedded ``embeddings.0.weight``, a row a category.

        A weight has shape ``(inputs, outputs)``: a layer computes ``X @ weight + bias``, as
        ``coefs_`` and ``intercepts_`` of scikit-learn; torch's ``Linear.weight`` is its transpose.
        """
        return self.network.weights

    @property
    def n_features_in(self) -> int:
        """Columns of the tables that it takes."""
        if isinstance(self.preprocess, Columns):
            return self.preprocess.n_columns
        return int(getattr(self.preprocess, "n_features_in_", self.network.n_features))

    def bare(self) -> Model:
        """Return the network alone, for rows that were preprocessed: :meth:`transform` of others.

        Examples
        --------
        >>> from sweeps import problems, sweep
        >>> problem = problems.iris(hidden=(8,))
        >>> result = sweep(problem, {"lr": [0.1]}, epochs=2)
        >>> bare = result.model().bare()
        >>> bool(bare.score(problem.X_test, problem.y_test) == result.best().test_accuracy[0])
        True
        """
        return Model(self.network, classes=self.classes, about=self.about)

    def to_torch(self) -> Any:
        """Return an ``nn.Sequential`` with the same outputs.

        Returns
        -------
        torch.nn.Sequential
            On the CPU, in the dtype of the arithmetic. It takes rows as :meth:`predict` does: the
            preprocessing is its first layer (in float64, whatever it is given). It returns
            :meth:`outputs`: logits of classes, not probabilities.

        Raises
        ------
        SpecError
            The preprocessing has columns of text, or is no plain data; see :meth:`bare`.
        ImportError
            torch is not installed.

        Examples
        --------
        >>> from sweeps import problems, sweep
        >>> model = sweep(problems.iris(hidden=(8,)), {"lr": [0.1]}, epochs=2).model()
        >>> model.to_torch()
        Sequential(
          (0): Preprocess(4 columns)
          (1): Linear(in_features=4, out_features=8, bias=True)
          (2): ReLU()
          (3): Linear(in_features=8, out_features=3, bias=True)
        )
        """
        try:
            from sweeps.models.torch_modules import sequential
        except ImportError as error:
            raise ImportError('to_torch needs torch: pip install "fastopt[torch]"') from error
        return sequential(self)

    def to_sklearn(self) -> Any:
        """Return a fitted estimator of scikit-learn whose predictions agree.

        Returns
        -------
        estimator
            With hidden layers ``MLPClassifier`` or ``MLPRegressor``; without them
            ``LogisticRegression``, ``LinearSVC``, ``LinearRegression`` or ``PoissonRegressor``,
            by the loss. With preprocessing, the second step of a ``Pipeline``.

        Raises
        ------
        SpecError
            scikit-learn has no such network: an activation, layer norm, residual layers,
            embeddings, or a loss with hidden layers.

        Examples
        --------
        >>> from sweeps import problems, sweep
        >>> model = sweep(problems.iris(hidden=(8,)), {"lr": [0.1]}, epochs=2).model()
        >>> [type(step).__name__ for _, step in model.to_sklearn().steps]
        ['StandardScaler', 'MLPClassifier']
        """
        from sweeps.models.estimators import estimator

        return estimator(self)

    def to_onnx(self, path: str | os.PathLike[str]) -> Path:
        """Write an ONNX file with the same outputs, whole or not at all.

        Its input ``X`` is rows as :meth:`predict` takes them, in float64; its outputs are
        ``outputs``, as from :meth:`outputs`, and ``probabilities`` (a column an output) where the
        loss has them. Labels and names of columns are in its metadata, as JSON.

        Raises
        ------
        SpecError
            The preprocessing has columns of text, or is no plain data; see :meth:`bare`.
        ImportError
            onnx is not installed: ``pip install "fastopt[onnx]"``.
        """
        try:
            from sweeps.models.onnx_graphs import write_onnx
        except ImportError as error:
            raise ImportError('to_onnx needs onnx: pip install "fastopt[onnx]"') from error
        return write_onnx(self, check_path(path))

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write it to a safetensors file, whole or not at all.

        The tensors are :attr:`weights`, so any program that reads safetensors finds them; all else
        is JSON in the file's metadata, with a digest of everything. Nothing is pickled.

        Parameters
        ----------
        path : path-like
            Replaced if it exists; its folder must exist.

        Returns
        -------
        Path

        Raises
        ------
        SpecError
            The preprocessing holds a transformer that plain data cannot stand for.
        OSError
            The file cannot be written; an existing one is as before.

        Examples
        --------
        >>> import tempfile
        >>> from sweeps import problems, sweep
        >>> model = sweep(problems.iris(hidden=(8,)), {"lr": [0.1]}, epochs=2).model()
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     again = Model.load(model.save(f"{folder}/iris.safetensors"))
        >>> again.predict([[5.1, 3.5, 1.4, 0.2]]) == model.predict([[5.1, 3.5, 1.4, 0.2]])
        array([ True])
        """
        return files.write(check_path(path), self.parts())

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Model:
        """Read a file of :meth:`save`; nothing in it is run.

        Raises
        ------
        StateError
            The file is damaged, or holds something else.
        OSError
            It cannot be read.

        Examples
        --------
        >>> Model.load("nowhere.safetensors")
        Traceback (most recent call last):
        FileNotFoundError: ...
        """
        return cls(**files.read(check_path(path))._asdict())

    def parts(self) -> files.Parts:
        """Return what it is made of, by the names of its constructor."""
        return files.Parts(*(getattr(self, name) for name in files.Parts._fields))

    def summary(self) -> str:
        """Return what it is, in lines of text: layers, loss, columns, trial and figures.

        Examples
        --------
        >>> from sweeps import problems, sweep
        >>> model = sweep(problems.iris(hidden=(8,)), {"lr": [0.1]}, epochs=2).model()
        >>> print(model.summary())
        Model of iris: 4-8-3 relu, 67 parameters, float32; softmax_cross_entropy, 3 classes
          layers.0    4 -> 8      40 parameters  relu
          layers.1    8 -> 3      27 parameters  softmax
          classes     0, 1, 2
          preprocess  4 columns -> 4 features (plain data)
          trial 0     lr=0.1
          measured    train_loss=..., train_accuracy=..., test_loss=...
        """
        return texts.summary(self)

    def __repr__(self) -> str:
        return texts.headline(self)
