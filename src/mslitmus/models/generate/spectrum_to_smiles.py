"""spectrum-to-smiles: the encoder–decoder as a model of the task generation.

Trained on next tokens (cross-entropy, the true string given up to each place) and on the fingerprint (binary
cross-entropy, weight λ). Answers are the distinct molecules of a beam search under the constraint of the formula, best
first; each is read back by RDKit, and what does not parse or has another formula is left out and counted (`refused`).
With `blind` the spectrum is masked in training and in prediction, and nothing but the formula (and the adduct) is left:
the liar that a generator must beat. `rerank` orders the answers anew (`rerank.py`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar, Self
from zlib import crc32

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from ...chem.molecule import formulas, identify, morgan
from ...errors import ChemistryError, ConfigError, ModelError
from ...provenance import table_hash, write_json
from ...schemas import PREDICTED_STRUCTURES, conform
from ...tasks.measured import MEASURED, with_structure
from ..formula_guess import GuessOptions
from ..options import Options, TrainingOptions, parse_options
from ..predict.batching import epoch_rows, like_length, number_molecules, tensor
from ..predict.conditioning import Conditioning, ConditioningOptions, ConditionVocabulary, check_conditions
from ..predict.starting import Start
from ..protocol import FitContext, FitReport, Kind
from ..trained import TrainedModel, read_json, reading, weights_file_hash
from .constraint import FormulaConstraint, own_charge, writable
from .decode import Search, Written, decode
from .formulae import Formulae
from .inputs import InputTable
from .options import TRAINING, SpectrumToSmilesOptions, of_saved
from .rerank import Asked, Reranker, RerankOptions
from .smiles_tokens import END, PAD, SmilesTokens, spellings, target
from .transformer import MOST_TOKENS, Generator, GeneratorOptions, Inputs

_TOKENS = SmilesTokens()
_FORMULAS = "formulas.json"
_GUESSED = 1000  # validation spectra by which the guessing of formulae is judged


@dataclass(frozen=True)
class Lesson:
    """A batch: inputs, `written` (n, t) tokens from `begin` to `end`, `bits` (n, bits) of the true fingerprints."""

    inputs: Inputs
    written: Tensor
    bits: Tensor


class Lessons:
    """A sized iterable of the batches of one epoch."""

    def __init__(self, model: SpectrumToSmiles, rows: Sequence[NDArray[np.int64]], seed: int) -> None:
        self.model, self.rows, self.seed = model, rows, seed

    def __len__(self) -> int:
        return len(self.rows)

    def __iter__(self) -> Iterator[Lesson]:
        for number, rows in enumerate(self.rows):
            yield self.model.lesson(rows, self.seed + number)


class SpectrumToSmiles(TrainedModel):
    """Spectrum and formula → structures."""

    task = "generation"
    name = "spectrum-to-smiles"
    network: Generator
    own_fit = True  # re-ranking is weighed after the loop
    Options: ClassVar[type[SpectrumToSmilesOptions]] = SpectrumToSmilesOptions

    def __init__(self, **options: Any) -> None:
        where = f"model {self.name!r}"
        self.options: Any = parse_options(self.Options, options, where=where)
        self.shape = parse_options(GeneratorOptions, self.options.network, where="network")
        self.condition_options = parse_options(ConditioningOptions, self.options.conditions, where="conditions")
        self.training = parse_options(TrainingOptions, {**TRAINING, **self.options.training}, where="training")
        self.reranker = Reranker(parse_options(RerankOptions, self.options.rerank, where="rerank"))
        self._chosen = check_conditions(self.options.conditioning)
        if self.options.constraint and self.options.formula == "absent":
            remedy = "constraint: false, or formula: given or predicted"
            raise ConfigError("a constraint needs the formula", where=where, remedy=remedy)
        if self.options.blind and self.reranker.options.spectrum != 0:
            remedy = "leave out rerank.spectrum, or blind"
            raise ConfigError("blind: re-ranking by spectra looks at the spectrum", where=where, remedy=remedy)
        if self.options.guesses > self.options.beams:
            what = f"{self.options.guesses} guesses share {self.options.beams} beams"
            raise ConfigError(what, where=where, remedy="at most as many guesses as beams")
        self.guessing = parse_options(GuessOptions, self.options.guess, where="guess")
        seen = self.guessing.model_copy(update={"peaks": 0.0}) if self.options.blind else self.guessing
        self.formulae = Formulae(self.options.formula, seen, self.options.guesses)
        self.kind: Kind = "blind" if self.options.blind else "trained"
        self._table: InputTable | None = None
        self.refused = 0  # strings that RDKit or the formula refused, of the last prediction

    @property
    def formulas(self) -> tuple[str, ...]:
        """Of the training molecules: what an unknown formula is guessed by."""
        return self.formulae.known

    @classmethod
    def inputs(cls, options: Mapping[str, Any]) -> dict[str, str]:
        """Hashes of the weights that it starts from and of the predictor that re-ranks: part of a cell's identity."""
        folder = str(options.get("weights", "random"))
        remedy = "run `mslitmus pretrain decoder` first, or weights: random"
        found = {} if folder == "random" else {"weights": weights_file_hash(folder, remedy)}
        if predictor := (options.get("rerank") or {}).get("predictor"):
            remedy = "predictor: runs/matrix/cells/SPLIT/ROW/seed0/model"
            inside = Path(predictor) / "model"
            found["predictor"] = weights_file_hash(str(inside if inside.is_dir() else predictor), remedy)
        return found

    def check_task(self, task: Any) -> None:
        """Raises ConfigError where the formula is to be given and the task hides it."""
        if self.options.formula == "given" and "formula" not in task.visible:
            remedy = "task_options: {formula: given}, or formula: predicted, or formula: absent and constraint: false"
            raise ConfigError("the task hides the formula", where=f"model {self.name!r}", remedy=remedy)

    def described(self) -> dict[str, Any]:
        """All options, defaults included."""
        parts: dict[str, Options] = {"network": self.shape, "conditions": self.condition_options}
        parts |= {"guess": self.guessing}
        parts |= {"training": self.training}
        parts |= {"rerank": self.reranker.options} if self.options.rerank else {}
        own = self.options.model_dump(mode="json", exclude=set() if self.options.rerank else {"rerank"})
        return {**own, **{name: part.model_dump() for name, part in parts.items()}}

    # -- training ----------------------------------------------------------------------------------------------------

    def fit(self, train: pl.DataFrame, val: pl.DataFrame, context: FitContext) -> FitReport:
        """Train with the one loop, then choose the weights of re-ranking on validation, where they are to be chosen."""
        return self._weighed(super().fit(train, val, context), val, context)

    def _weighed(self, report: FitReport, val: pl.DataFrame, context: FitContext) -> FitReport:
        """What else is found on validation: how often formulae are guessed right, and the weights of re-ranking."""
        some = with_structure(val).sample(fraction=1.0, shuffle=True, seed=context.seed).head(_GUESSED)
        report = replace(report, notes={**report.notes, **self.formulae.accuracy(self.queries(some), some["formula"])})
        if not self.reranker.to_choose:
            return report
        rows = with_structure(val).sample(fraction=1.0, shuffle=True, seed=context.seed).head(self.training.val_limit)
        queries, answers = self._asked(self.queries(rows)), []
        context.progress(f"weights of re-ranking: {rows.height} validation queries")
        self.reranker.choosing = True
        try:
            with self._predicting():
                for start in range(0, rows.height, self.options.chunk):
                    answers += self._found(queries.slice(start, self.options.chunk))
        finally:
            self.reranker.choosing = False
        self.reranker.choose(answers, rows["smiles"].to_list())
        return replace(report, notes={**report.notes, "rerank": self.reranker.told()})

    def prepare(self, train: pl.DataFrame, context: FitContext) -> None:
        """Fix the vocabulary of adducts, build the network, hold spectra and targets ready.

        Molecules that cannot be written (elements, radicals, too long) are left out. Raises ModelError if none is left.
        """
        self.reranker.forget()
        train = self._remember(train)
        vocabulary, start = ConditionVocabulary.of(train), self._start
        self._build(vocabulary if start is None else start.vocabulary(vocabulary))
        if start is None and self.options.weights != "random":
            start = self._pretrained(Path(self.options.weights))
            self._build(start.vocabulary(vocabulary))
        if start is not None:
            start.fill(self.network)
        self._table = self._tabulate(train)
        self._data_hash = table_hash(train, ["identifier", "smiles", "precursor_mz", "mzs", "intensities"])
        self._data_hash += "" if start is None else start.hash

    def _remember(self, train: pl.DataFrame) -> pl.DataFrame:
        """The rows that can be learned; their targets and fingerprints are held ready."""
        train = with_structure(train)
        texts = {text: self._writable(text) for text in train["smiles"].unique().to_list()}
        train = train.filter(pl.col("smiles").replace_strict(texts, return_dtype=pl.String).is_not_null())
        if train.is_empty():
            remedy = "check the split and the dataset's SMILES"
            raise ModelError("no training molecule can be written", remedy=remedy)
        self.formulae.known = tuple(sorted(train["formula"].unique().to_list()))
        distinct, self._molecule = number_molecules(train["smiles"].to_list())
        self._targets = [str(texts[text]) for text in distinct]
        self._packed = np.packbits(morgan(distinct, bits=self.shape.bits), axis=1)
        return train

    def _writable(self, smiles: str) -> str | None:
        text = target(smiles, self.options.stereo)
        fits = (
            _TOKENS.knows(text) and writable(formulas([text])[0]) and len(_TOKENS.encode(text)) < self.options.longest
        )
        return text if fits else None

    def start_from(self, folder: Path, head: str = "keep") -> None:
        """Vocabulary and weights of a saved generator: this one answers as that one until it is trained on."""
        parent = opened(folder)
        self._build(parent.vocabulary)
        self.formulae.known = parent.formulas
        self._start = Start.of(parent.network, parent.vocabulary, folder, head)
        self._start.fill(self.network)

    def _pretrained(self, folder: Path) -> Start:
        """Raises ConfigError where the folder's network is another than this one's."""
        parent = opened(folder)
        self.check_start(parent)
        return Start.of(parent.network, parent.vocabulary, folder, "keep")

    def _build(self, vocabulary: ConditionVocabulary) -> None:
        self.vocabulary = vocabulary
        self.network = Generator(self.shape, Conditioning(self._chosen, self.condition_options, vocabulary))

    def _tabulate(self, frame: pl.DataFrame) -> InputTable:
        frame = frame if self.options.formula != "absent" else frame.drop("formula", strict=False)
        return InputTable.of(frame, self.vocabulary, self.options.top)

    def _inputs(self, table: InputTable, rows: NDArray[np.int64], hide: float = 0.0) -> Inputs:
        batch = table.batch(rows, self.shape.bits, self._device, hide)
        if self.options.blind:
            conditions = {name: torch.zeros_like(v) for name, v in batch.conditions.items() if name != "adduct"}
            adduct = batch.conditions["adduct"]
            batch = replace(batch, present=torch.zeros_like(batch.present), conditions={**conditions, "adduct": adduct})
        return batch

    def train_batches(self, order_seed: int) -> Lessons:
        """One epoch, shuffled (and respelled) by this seed."""
        if self._table is None:
            raise ModelError("nothing prepared to train on", remedy="call fit")
        rows = epoch_rows(self._molecule, self.training.batch_size, 1, order_seed, self.options.at_most)
        lengths = np.array([len(text) for text in self._targets])[self._molecule]
        return Lessons(self, like_length(rows, lengths, order_seed), order_seed)

    def lesson(self, rows: NDArray[np.int64], seed: int) -> Lesson:
        """The batch of these training rows."""
        if self._table is None:
            raise ModelError("nothing prepared to train on", remedy="call fit")
        molecules = self._molecule[rows]
        texts = [self._targets[k] for k in molecules]
        rng = np.random.default_rng(seed)
        again = np.flatnonzero(rng.random(len(texts)) < self.options.random_spelling)
        for place, text in zip(again, spellings([texts[k] for k in again], seed), strict=True):
            texts[place] = text if _TOKENS.knows(text) and len(_TOKENS.encode(text)) < MOST_TOKENS else texts[place]
        bits = np.unpackbits(self._packed[molecules], axis=1)[:, : self.shape.bits].astype(np.float32)
        written = tensor(_TOKENS.batch(texts), self._device)
        return Lesson(self._inputs(self._table, rows, self.options.hide), written, tensor(bits, self._device))

    def loss(self, batch: Lesson) -> Tensor:
        """Mean cross-entropy of the tokens + λ · mean cross-entropy of the bits."""
        logits, bits = self.network(batch.inputs, batch.written[:, :-1])
        tokens = functional.cross_entropy(logits.flatten(0, 1), batch.written[:, 1:].flatten(), ignore_index=PAD)
        told = functional.binary_cross_entropy_with_logits(bits, batch.bits)
        return tokens + self.options.fingerprint_weight * told

    def queries(self, val: pl.DataFrame) -> pl.DataFrame:
        """Spectra (and formulae) without their structures."""
        return with_structure(val).select(*MEASURED, *(["formula"] if self.options.formula == "given" else []))

    # -- prediction --------------------------------------------------------------------------------------------------

    def predict(self, queries: pl.DataFrame) -> pl.DataFrame:
        """PREDICTED_STRUCTURES, best first within a query, in the order asked. The score is the log-likelihood of the
        string among all strings of its formula. A query without any structure gets one row without SMILES."""
        self.refused = 0
        queries = self._asked(queries)
        rows: list[tuple[str, str | None, float | None]] = []
        with self._predicting():
            for start in range(0, queries.height, self.options.chunk):
                rows += self._answers(queries.slice(start, self.options.chunk))
        return conform(pl.DataFrame(rows, schema=PREDICTED_STRUCTURES, orient="row"), PREDICTED_STRUCTURES)

    def _asked(self, queries: pl.DataFrame) -> pl.DataFrame:
        """Queries with what is found out about all of them at once: their formulae."""
        return self.formulae.asked(queries)

    def _answers(self, queries: pl.DataFrame) -> list[tuple[str, str | None, float | None]]:
        rows: list[tuple[str, str | None, float | None]] = []
        for identifier, asked in zip(queries["identifier"].to_list(), self._found(queries), strict=True):
            ranked = self.reranker.ranked(asked)[: self.options.structures]
            rows += [(identifier, *answer) for answer in ranked] or [(identifier, None, None)]
        return rows

    def _found(self, queries: pl.DataFrame) -> list[Asked]:
        """What is written for each query, with what re-ranking looks at. A formula without atoms that can be written,
        or none where there is a constraint, gives nothing."""
        own, spread, weights = self.formulae.spread(queries)
        named = spread["formula"].to_list() if "formula" in spread.columns else [None] * spread.height
        able = [k for k, text in enumerate(named) if not self.options.constraint or (text and writable(text))]
        parts: list[list[Asked]] = [[] for _ in range(queries.height)]
        if able:
            part, among = spread[able], np.bincount(own[able])[own[able]]
            written, bits = self._strings(self._inputs(self._tabulate(part), np.arange(len(able))), part, among)
            answers = [self._read(each, named[k]) for k, each in zip(able, written, strict=True)]
            for k, each in zip(able, self.reranker.looked_at(answers, bits, part), strict=True):
                parts[own[k]].append(each.weighed(float(weights[k])))
        return [Asked.merged(each) for each in parts]

    def _strings(
        self, inputs: Inputs, part: pl.DataFrame, among: NDArray[np.int64]
    ) -> tuple[list[Written], NDArray[np.float32]]:
        """The strings of each row, and (n, bits) the probabilities of its fingerprint.

        among: (n,) formulae that are asked for the row's query, which share its beams.
        """
        states, there, logits = self.network.encode(inputs)
        found: dict[int, Written] = {}
        for sharers in np.unique(among):
            rows = np.flatnonzero(among == sharers)
            at, beams = torch.from_numpy(rows).to(states.device), self.options.beams // int(sharers)
            found |= zip(rows.tolist(), self._decoded(states[at], there[at], part[rows], beams), strict=True)
        return [found[k] for k in range(part.height)], torch.sigmoid(logits).float().cpu().numpy()

    def _decoded(self, states: Tensor, there: Tensor, part: pl.DataFrame, beams: int) -> list[Written]:
        """The strings of rows that are encoded, with as many beams each."""
        seeds = tuple(crc32(name.encode()) for name in part["identifier"])
        search = Search(beams, self.options.longest, self.options.temperature, seeds=seeds)
        if not self.options.constraint:
            return decode(self.network, states, there, search)
        constraint = FormulaConstraint(stereo=self.options.stereo)
        charges = [own_charge(adduct) for adduct in part["adduct"]]
        formulae = part["formula"].to_list()
        return decode(self.network, states, there, search, constraint, formulae, charges)

    def _read(self, written: Written, formula: str | None) -> list[tuple[str, float]]:
        """Distinct molecules of the strings of one query, canonical, best first.

        Only those of the formula, unless it is a guess that the strings were not held to.
        """
        formula = formula if self.options.constraint or self.options.formula == "given" else None
        kept: dict[str, tuple[str, float]] = {}
        for tokens, score, ended in zip(written.tokens, written.scores, written.ended, strict=True):
            text = _TOKENS.decode(tokens)
            try:
                who = identify(text) if ended and END in tokens and np.isfinite(score) else None
            except ChemistryError:
                who = None
            if who is None or (formula is not None and who.formula != formula):
                self.refused += 1
                continue
            kept.setdefault(who.inchikey14, (who.smiles, float(score)))
        return list(kept.values())

    # -- files -------------------------------------------------------------------------------------------------------

    def save(self, folder: Path) -> None:
        """options.json, vocabulary.json, formulas.json and weights.pt."""
        folder.mkdir(parents=True, exist_ok=True)
        write_json(folder / _FORMULAS, list(self.formulas))
        chosen = {"rerank": self.reranker.told()} if self.reranker.chosen else {}
        self._write(folder, {"adducts": list(self.vocabulary.adducts), **chosen})

    @classmethod
    def load(cls, folder: Path) -> Self:
        """A saved model. Raises ModelError if a file is missing or does not fit."""
        with reading(folder):
            return cls._read_from(folder, read_json(folder / "options.json"))

    @classmethod
    def _read_from(cls, folder: Path, options: dict[str, Any]) -> Self:
        model, vocabulary = cls(**of_saved(options, folder)), read_json(folder / "vocabulary.json")
        model._build(ConditionVocabulary(tuple(vocabulary["adducts"])))
        model._read_weights(folder)
        model.formulae.known = tuple(read_json(folder / _FORMULAS)) if (folder / _FORMULAS).is_file() else ()
        model.reranker.recall(vocabulary.get("rerank", {}))
        return model


def opened(folder: Path) -> SpectrumToSmiles:
    """The plain generator of a saved one, tuned or not."""
    with reading(folder):
        saved = read_json(folder / "options.json")
        known = {name: value for name, value in saved.items() if name in SpectrumToSmilesOptions.model_fields}
        return SpectrumToSmiles._read_from(folder, {**known, "rerank": {}})
