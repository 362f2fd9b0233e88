"""Small valid records of every text format, for tests to read and to break."""

from __future__ import annotations

import base64
import zlib

import numpy as np

MGF = """BEGIN IONS
TITLE=caffeine
PEPMASS=195.0877
CHARGE=1+
IONMODE=positive
ADDUCT=[M+H]+
SMILES=CN1C=NC2=C1C(=O)N(C(=O)N2C)C
COLLISION_ENERGY=30 eV
110.0713 12.5
138.0662 100
195.0877 44
END IONS

BEGIN IONS
TITLE=theobromine
PEPMASS=179.0575 1000
CHARGE=1-
IONMODE=negative
164.0340 20
179.0575 50
END IONS
"""

MSP = """Name: caffeine
DB#: C1
Precursor_type: [M+H]+
PrecursorMZ: 195.0877
Ion_mode: P
Collision_energy: 30 eV
Comments: "SMILES=CN1C=NC2=C1C(=O)N(C(=O)N2C)C" Parent=195
Num Peaks: 3
110.0713 12.5
138.0662 100 "C6H8N3O+"
195.0877 44

Name: theobromine
DB#: C2
PrecursorMZ: 179.0575
Ion_mode: N
Num Peaks: 2
164.0340:20 179.0575:50
"""

MASSBANK = """ACCESSION: MSBNK-Test_Lab-T0001
RECORD_TITLE: Caffeine; LC-ESI-QFT; MS2
LICENSE: CC BY
CH$NAME: Caffeine
CH$NAME: 1,3,7-trimethylxanthine
CH$FORMULA: C8H10N4O2
CH$EXACT_MASS: 194.0804
CH$SMILES: CN1C=NC2=C1C(=O)N(C(=O)N2C)C
CH$IUPAC: N/A
CH$LINK: INCHIKEY RYYVLZVUVIJVGH-UHFFFAOYSA-N
AC$INSTRUMENT: Q Exactive
AC$INSTRUMENT_TYPE: LC-ESI-QFT
AC$MASS_SPECTROMETRY: MS_TYPE MS2
AC$MASS_SPECTROMETRY: ION_MODE POSITIVE
AC$MASS_SPECTROMETRY: FRAGMENTATION_MODE HCD
AC$MASS_SPECTROMETRY: COLLISION_ENERGY 30 eV
AC$CHROMATOGRAPHY: RETENTION_TIME 2.5 min
MS$FOCUSED_ION: PRECURSOR_M/Z 195.0877
MS$FOCUSED_ION: ION_TYPE [M+H]+
PK$ANNOTATION: m/z tentative_formula formula_count mass error(ppm)
  138.0662 C6H8N3O+ 1 138.0662 0.3
PK$NUM_PEAK: 3
PK$PEAK: m/z int. rel.int.
  110.0713 12.5 125
  138.0662 100 999
  195.0877 44 440
//
"""

JSON = """[{"spectrum_id": "CCMSLIB00000001", "Precursor_MZ": "195.0877", "Charge": "1", "Ion_Mode": "Positive",
  "Adduct": "M+H", "Compound_Name": "caffeine", "Smiles": "CN1C=NC2=C1C(=O)N(C(=O)N2C)C",
  "peaks_json": "[[110.0713,12.5],[138.0662,100.0],[195.0877,44.0]]"},
 {"spectrum_id": "CCMSLIB00000002", "Precursor_MZ": "179.0575", "Ion_Mode": "Negative",
  "peaks_json": "[[164.0340,20],[179.0575,50]]"}]
"""

TSV = (
    "identifier\tmzs\tintensities\tsmiles\tinchikey\tformula\tprecursor_formula\tparent_mass\tprecursor_mz\tadduct\t"
    "instrument_type\tcollision_energy\tfold\tsimulation_challenge\n"
    "MassSpecGymID0000001\t110.0713,138.0662,195.0877\t0.125,1.0,0.44\tCN1C=NC2=C1C(=O)N(C(=O)N2C)C\tRYYVLZVUVIJVGH\t"
    "C8H10N4O2\tC8H11N4O2\t194.0804\t195.0877\t[M+H]+\tOrbitrap\t30.0\ttrain\tTrue\n"
    "MassSpecGymID0000002\t164.0340,179.0575\t0.4,1.0\tCn1cnc2c1c(=O)[nH]c(=O)n2C\tYAPQBXQYLJRXSA\t"
    "C7H8N4O2\tC7H9N4O2\t180.0647\t181.0720\t[M+H]+\tQTOF\t\ttest\tFalse\n"
)


def binary(
    values: list[float], kind: str, *, bits: int = 64, compressed: bool = True, encoded: str | None = None
) -> str:
    """One mzML binaryDataArray."""
    packed = np.array(values, dtype=f"<f{bits // 8}").tobytes()
    text = base64.b64encode(zlib.compress(packed) if compressed else packed).decode() if encoded is None else encoded
    precision = "MS:1000523" if bits == 64 else "MS:1000521"
    compression = "MS:1000574" if compressed else "MS:1000576"
    accession = {"mz": "MS:1000514", "intensity": "MS:1000515"}[kind]
    terms = "".join(
        f'<cvParam cvRef="MS" accession="{a}" name="x" value=""/>' for a in (precision, compression, accession)
    )
    return f'<binaryDataArray encodedLength="{len(text)}">{terms}<binary>{text}</binary></binaryDataArray>'


def mzml_spectrum(index: int, mzs: list[float], intensities: list[float], *, level: int = 2, arrays: str | None = None,
                  length: int | None = None) -> str:  # fmt: skip
    arrays = arrays or binary(mzs, "mz") + binary(intensities, "intensity", bits=32, compressed=False)
    return f"""
<spectrum index="{index}" id="scan={index + 1}" defaultArrayLength="{len(mzs) if length is None else length}">
<cvParam cvRef="MS" accession="MS:1000511" name="ms level" value="{level}"/>
<cvParam cvRef="MS" accession="MS:1000129" name="negative scan" value=""/>
<scanList><scan><cvParam cvRef="MS" accession="MS:1000016" name="scan start time" value="1.5"
 unitAccession="UO:0000031" unitName="minute"/></scan></scanList>
<precursorList><precursor><selectedIonList><selectedIon>
<cvParam cvRef="MS" accession="MS:1000744" name="selected ion m/z" value="195.0877"/>
<cvParam cvRef="MS" accession="MS:1000041" name="charge state" value="1"/>
</selectedIon></selectedIonList><activation>
<cvParam cvRef="MS" accession="MS:1000422" name="beam-type collision-induced dissociation" value=""/>
<cvParam cvRef="MS" accession="MS:1000045" name="collision energy" value="30.0" unitName="electronvolt"/>
</activation></precursor></precursorList>
<binaryDataArrayList count="2">{arrays}</binaryDataArrayList></spectrum>"""


def mzml(*spectra: str) -> str:
    body = "".join(spectra or (mzml_spectrum(0, [110.0713, 138.0662], [12.5, 100.0]), mzml_spectrum(1, [50.5], [7.0])))
    return (
        '<?xml version="1.0" encoding="utf-8"?>\n<indexedmzML xmlns="http://psi.hupo.org/ms/mzml">'
        f'<mzML version="1.1.0"><run id="r"><spectrumList>{body}\n</spectrumList></run></mzML></indexedmzML>\n'
    )


def mzxml(peaks: str | None = None, count: int = 2, **attributes: str) -> str:
    packed = (
        peaks if peaks is not None else base64.b64encode(np.array([110.0713, 12.5, 138.0662, 100.0], ">f8")).decode()
    )
    given = {
        "precision": "64",
        "compressionType": "none",
        "byteOrder": "network",
        "contentType": "m/z-int",
        **attributes,
    }
    stated = " ".join(f'{key}="{value}"' for key, value in given.items())
    return f"""<?xml version="1.0" encoding="ISO-8859-1"?>
<mzXML xmlns="http://sashimi.sourceforge.net/schema_revision/mzXML_3.2"><msRun scanCount="2">
<msInstrument><msModel category="msModel" value="Q Exactive"/></msInstrument>
<scan num="1" msLevel="1" peaksCount="0" polarity="+"><peaks precision="32"></peaks>
<scan num="2" msLevel="2" peaksCount="{count}" polarity="-" retentionTime="PT90.5S" collisionEnergy="30.0">
<precursorMz precursorCharge="1" activationMethod="HCD">195.0877</precursorMz>
<peaks {stated}>{packed}</peaks></scan></scan></msRun></mzXML>
"""


TEXTS = {
    "mgf": MGF,
    "msp": MSP,
    "massbank": MASSBANK,
    "gnps_json": JSON,
    "massspecgym": TSV,
    "mzml": mzml(),
    "mzxml": mzxml(),
}
