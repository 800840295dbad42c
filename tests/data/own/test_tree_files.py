import codecs

import pytest

from hierjax.data import read_hierarchy
from hierjax.errors import DataNotice, UserError

PATHS = {("bird", "great owl"), ("bird", "tit"), ("cod",)}


def read(folder, name, text, **options):
    content = text if isinstance(text, bytes) else text.encode()
    (folder / name).write_bytes(content)
    return read_hierarchy(folder / name, **options)


@pytest.mark.parametrize("ending", [".txt", ".edges", ".csv", ".tsv"])
@pytest.mark.parametrize(
    "lines",
    [
        ["life\tbird", "bird\tgreat owl", "bird\ttit", "life\tcod"],
        ['"life","bird"', '"bird","great owl"', '"bird",tit', 'life, "cod"'],
        ["parent;child", "life;bird", "bird;great owl", "bird;tit", "life;cod"],
        ["Child,Parent", "bird,life", "great owl,bird", "tit,bird", "cod,life"],
        ["parent_id,child_id", ",life", "life,bird", "bird,great owl", "bird,tit",
         "life,cod"],
        ["id,parent_id", "bird,-1", "great owl,bird", "tit,bird", "cod,NULL"],
        ["source,target,since", "life,bird,1", "bird,great owl,2", "bird,tit,",
         "life,cod,3"],
    ],
)  # fmt: skip
def test_pairs_as_people_have_them(tmp_path, ending, lines):
    for end, start in (("\n", b""), ("\r\n", codecs.BOM_UTF8), ("\r", b"")):
        text = start + end.join([*lines, "", ""]).encode()
        assert set(read(tmp_path, f"t{ending}", text).paths) == PATHS
    wide = "\n".join(lines).encode("utf-16")
    assert set(read(tmp_path, f"t{ending}", wide).paths) == PATHS


def test_comments_and_names_in_quotes(tmp_path):
    text = (
        '# made by hand\nlife bird\nbird "great owl"\n#bird crow\nbird tit\nlife cod\n'
    )
    assert set(read(tmp_path, "t.txt", text).paths) == PATHS
    header = "#child\tparent\ngreat owl\tbird\ntit\tbird\nbird\tlife\ncod\tlife\n"
    assert set(read(tmp_path, "t.edges", header).paths) == PATHS


def test_the_order_of_pairs_by_option(tmp_path):
    text = "bird,life\ngreat owl,bird\ntit,bird\ncod,life\n"
    for ending in (".txt", ".csv"):
        tree = read(tmp_path, f"t{ending}", text, edge_order="child_parent")
        assert set(tree.paths) == PATHS
    with pytest.raises(
        UserError, match="every parent one child: .* edge_order='child_"
    ):
        read(tmp_path, "t.csv", text)
    with pytest.raises(
        UserError, match="t.csv: has 3 columns; pairs have two, or a he"
    ):
        read(tmp_path, "t.csv", "no,path,x\n1,a/b,2\n", edge_order="child_parent")
    with pytest.raises(
        UserError, match="t.csv: edge_order must be one of parent_child"
    ):
        read(tmp_path, "t.csv", text, edge_order="up")


def test_a_header_in_another_language_is_pointed_at(tmp_path):
    with pytest.warns(
        DataNotice, match="first line, 'Ober' and 'Unter', occur in no o"
    ):
        read(tmp_path, "t.txt", "Ober Unter\na b\nb c\n")
    with pytest.warns(DataNotice, match="'Ober', 'Unter'., is taken for a header"):
        tree = read(tmp_path, "t.csv", "Ober,Unter\na,b\nb,c\n")
    assert tree.paths == (("b", "c"),)


def test_several_parents_in_a_file(tmp_path):
    text = "r,a\nr,b\na,x\nb,x\n"
    with pytest.raises(UserError, match="1 of 3 nodes have several parents .'x' under"):
        read(tmp_path, "t.txt", text)
    with pytest.warns(DataNotice, match="1 of 3 nodes have several parents, of which"):
        tree = read(tmp_path, "t.txt", text, parents="first")
    assert tree.paths == (("a", "x"),)


GBIF = (
    "taxonKey,species,genus,family,order,class,phylum,kingdom,speciesKey\n"
    "1,Bubo bubo,Bubo,Strigidae,Strigiformes,Aves,Chordata,Animalia,11\n"
    "2,Bubo bubo,Bubo,Strigidae,Strigiformes,Aves,Chordata,Animalia,11\n"
    "3,,Bubo,Strigidae,Strigiformes,Aves,Chordata,Animalia,\n"
    "4,Tyto alba,Tyto,Tytonidae,Strigiformes,Aves,Chordata,Animalia,12\n"
)


def test_a_column_a_rank(tmp_path):
    with pytest.warns(
        DataNotice, match="levels of the tree are the columns kingdom, p"
    ):
        tree = read(tmp_path, "t.csv", GBIF)
    ranks = ("kingdom", "phylum", "class", "order", "family", "genus", "species")
    assert tree.level_names == ranks
    assert set(tree.class_names) == {"Bubo bubo", "Tyto alba"}
    gap = GBIF.replace("Tytonidae", "")
    with pytest.raises(UserError, match="t.csv: row 3 has the label 'Tyto' at level 5"):
        read(tmp_path, "t.csv", gap)
    tree = read(tmp_path, "t.tsv", "coarse\tfine\nbird\towl\nbird\ttit\ncod\t\n")
    assert tree.level_names == ("coarse", "fine")
    assert set(tree.paths) == {("bird", "owl"), ("bird", "tit"), ("cod",)}


@pytest.mark.parametrize(
    "cells", ["bird/great owl,bird/tit/,/cod", "bird > great owl,bird>tit,cod"]
)
@pytest.mark.parametrize("column", ["path", "Path", "HIERARCHY"])
def test_paths_in_a_table(tmp_path, column, cells):
    text = "\n".join(["no,x", *(f"{cell},1" for cell in cells.split(","))])
    assert set(read(tmp_path, "t.csv", text.replace("no", column, 1)).paths) == PATHS


def test_a_quote_that_is_not_closed_swallows_nothing(tmp_path):
    with pytest.raises(
        UserError, match="t.csv: cannot be read as a CSV table: unexpec"
    ):
        read(tmp_path, "t.csv", 'path,x\n"bird/owl,1\nbird/tit,2\n')


NEXUS = """#NEXUS
[made by a program]
BEGIN TAXA; TAXLABELS owl 'snowy owl' tree_frog; END;
Begin Trees;
  Translate 1 owl,
            2 'it''s; a, (frog)',
            3 Darwin's_finch;
  tree one = [&R] ((1:0.1,2:0.2)1:3,3);
  TREE two = ((1,3),2);
End;
"""


def test_nexus(tmp_path):
    for name in ("t.tre", "t.NEX", "t.nwk"):
        with pytest.warns(DataNotice, match="has 2 trees, of which the first is read"):
            tree = read(tmp_path, name, codecs.BOM_UTF8 + NEXUS.encode())
        assert tree.paths == (
            ("node_0", "owl"),
            ("node_0", "it's; a, (frog)"),
            ("Darwin's_finch",),
        )
    with pytest.raises(UserError, match="t.nex: the NEXUS text has no 'tree NAME"):
        read(tmp_path, "t.nex", "#NEXUS\nbegin taxa; end;")


def test_no_text(tmp_path):
    for content, message in ((b"\xff\xfe\x00", "no text in UTF-8"), (b"a\0b", "bytes")):
        with pytest.raises(UserError, match=message):
            read(tmp_path, "t.nwk", content)
    (tmp_path / "f.csv").mkdir()
    with pytest.raises(UserError, match="f.csv: is no regular file; give a text file"):
        read_hierarchy(tmp_path / "f.csv")
