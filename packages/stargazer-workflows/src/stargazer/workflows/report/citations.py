"""What to cite of a run: the papers of the tools and methods in its lineage."""

from __future__ import annotations

from collections.abc import Set

import attrs

__all__ = ["Citation", "citations"]


@attrs.frozen
class Citation:
    """A paper, and what has to have been used for it to be cited: a tool, or a task that is one of its methods."""

    of: str
    text: str
    doi: str
    tools: frozenset[str] = frozenset()
    tasks: frozenset[str] = frozenset()


PAPERS = (
    Citation(
        "BWA-MEM",
        "Li H. Aligning sequence reads, clone sequences and assembly contigs with BWA-MEM. arXiv:1303.3997, 2013.",
        "10.48550/arXiv.1303.3997",
        tools=frozenset({"bwa", "bwa-mem2", "bwa-mem3"}),
    ),
    Citation(
        "bwa-mem2, from which bwa-mem3 comes",
        "Vasimuddin Md, Misra S, Li H, Aluru S. Efficient architecture-aware acceleration of BWA-MEM for multicore "
        "systems. IEEE IPDPS, 314-324, 2019.",
        "10.1109/IPDPS.2019.00041",
        tools=frozenset({"bwa-mem2", "bwa-mem3"}),
    ),
    Citation(
        "SAMtools and BCFtools",
        "Danecek P, Bonfield JK, Liddle J, et al. Twelve years of SAMtools and BCFtools. GigaScience 10, giab008, "
        "2021.",
        "10.1093/gigascience/giab008",
        tools=frozenset({"samtools", "bcftools"}),
    ),
    Citation(
        "calls of bcftools",
        "Li H. A statistical framework for SNP calling, mutation discovery, association mapping and population "
        "genetical parameter estimation from sequencing data. Bioinformatics 27, 2987-2993, 2011.",
        "10.1093/bioinformatics/btr509",
        tasks=frozenset({"call_variants"}),
    ),
    Citation(
        "GATK",
        "McKenna A, Hanna M, Banks E, et al. The Genome Analysis Toolkit: a MapReduce framework for analyzing "
        "next-generation DNA sequencing data. Genome Research 20, 1297-1303, 2010.",
        "10.1101/gr.107524.110",
        tools=frozenset({"gatk"}),
    ),
    Citation(
        "recalibration of base qualities",
        "DePristo MA, Banks E, Poplin R, et al. A framework for variation discovery and genotyping using "
        "next-generation DNA sequencing data. Nature Genetics 43, 491-498, 2011.",
        "10.1038/ng.806",
        tasks=frozenset({"base_recalibrator"}),
    ),
    Citation(
        "HaplotypeCaller",
        "Poplin R, Ruano-Rubio V, DePristo MA, et al. Scaling accurate genetic variant discovery to tens of thousands "
        "of samples. bioRxiv 201178, 2018.",
        "10.1101/201178",
        tasks=frozenset({"haplotype_caller"}),
    ),
    Citation(
        "GATK's best practices",
        "Van der Auwera GA, Carneiro MO, Hartl C, et al. From FastQ data to high-confidence variant calls: the Genome "
        "Analysis Toolkit best practices pipeline. Current Protocols in Bioinformatics 43, 11.10.1-11.10.33, 2013.",
        "10.1002/0471250953.bi1110s43",
        tasks=frozenset({"haplotype_caller"}),
    ),
    Citation(
        "normalisation of variants",
        "Tan A, Abecasis GR, Kang HM. Unified representation of genetic variants. Bioinformatics 31, 2202-2204, 2015.",
        "10.1093/bioinformatics/btv112",
        tasks=frozenset({"left_align_and_trim", "normalise_variants"}),
    ),
    Citation(
        "scanpy",
        "Wolf FA, Angerer P, Theis FJ. SCANPY: large-scale single-cell gene expression data analysis. Genome Biology "
        "19, 15, 2018.",
        "10.1186/s13059-017-1382-0",
        tools=frozenset({"scanpy"}),
    ),
    Citation(
        "Scrublet",
        "Wolock SL, Lopez R, Klein AM. Scrublet: computational identification of cell doublets in single-cell "
        "transcriptomic data. Cell Systems 8, 281-291, 2019.",
        "10.1016/j.cels.2018.11.005",
        tasks=frozenset({"scrublet"}),
    ),
    Citation(
        "Harmony",
        "Korsunsky I, Millard N, Fan J, et al. Fast, sensitive and accurate integration of single-cell data with "
        "Harmony. Nature Methods 16, 1289-1296, 2019.",
        "10.1038/s41592-019-0619-0",
        tasks=frozenset({"harmony_integrate"}),
    ),
    Citation(
        "UMAP",
        "McInnes L, Healy J, Saul N, Großberger L. UMAP: uniform manifold approximation and projection. Journal of "
        "Open Source Software 3, 861, 2018.",
        "10.21105/joss.00861",
        tasks=frozenset({"umap"}),
    ),
    Citation(
        "Leiden",
        "Traag VA, Waltman L, van Eck NJ. From Louvain to Leiden: guaranteeing well-connected communities. Scientific "
        "Reports 9, 5233, 2019.",
        "10.1038/s41598-019-41695-z",
        tasks=frozenset({"leiden"}),
    ),
)


def citations(tools: Set[str], tasks: Set[str]) -> list[Citation]:
    """The papers of what was used.

    Args:
        tools: by name.
        tasks: by the names of their functions.
    """
    return [paper for paper in PAPERS if paper.tools & tools or paper.tasks & tasks]
