"""Names and nouns the world is made of."""

NAMES: dict[str, str] = dict.fromkeys(
    "Anna Mia Emma Sara Lena Nora Ida Ella Clara Julia Rosa Maria Eva Lucy Grace Alice Ruth Jane "
    "Kate Amy Lily Zoe Nina Vera Olga Tina Dora Hanna Lisa Ines Carla Diana Fatima Aisha Mei Yuki "
    "Priya Leila Sofia Elena".split(),
    "she",
) | dict.fromkeys(
    "Tom Ben Max Sam Leo Jack Paul Peter John Mark Adam Noah Luke Ivan Hugo Oscar Felix Otto Karl "
    "Erik Jonas David Simon Daniel Omar Ali Ravi Ken Chen Luis Diego Marco Pablo Victor Anton "
    "Frank George Henry Robert Walter".split(),
    "he",
)

PLACES = (
    "garden kitchen park school library market station office museum hospital forest beach hotel "
    "garage church theatre bakery farm harbour castle bank cafe zoo gym pool tower cellar barn "
    "airport stadium"
).split()

THINGS = (
    "ball book bag hat lamp cup key chair box pen bike kite drum map ring coat boat clock phone "
    "basket bottle blanket camera candle guitar ladder mirror pillow radio shirt umbrella watch "
    "scarf spoon table ticket toy truck vase whistle"
).split()

#: Things that are counted in word problems, in the plural.
COUNTED = (
    "apples pens books balls eggs stamps coins shells cards cakes oranges stickers buttons marbles "
    "pencils flowers stones cookies tickets toys"
).split()

COLOURS = "red blue green yellow black white brown grey pink purple golden silver".split()

JOBS = (
    "teacher doctor baker farmer pilot nurse cook driver painter singer writer lawyer dentist "
    "sailor tailor waiter actor judge gardener plumber"
).split()

FOODS = (
    "tea coffee soup rice bread cheese milk honey pasta salad fish cake fruit pizza juice cocoa "
    "chocolate butter soda jam"
).split()

HOBBIES = (
    "chess tennis football music dancing painting reading swimming running cooking fishing singing "
    "hiking sailing skating cycling"
).split()

ANIMALS = (
    "dog cat horse cow pig goat duck bird rabbit mouse lion tiger bear wolf fox frog turtle snake "
    "monkey donkey"
).split()

TOWNS = (
    "Lima Oslo Rome Paris Cairo Tokyo Delhi Madrid Berlin Vienna Prague Dublin Athens Lisbon "
    "Havana Seoul Warsaw Helsinki Milan Boston"
).split()

#: Further nouns, for lists only.
OTHERS = (
    "apple banana pear plum grape lemon melon peach carrot onion potato tomato bean corn egg "
    "sugar salt pepper flour water shoe sock dress glove belt jacket button zipper plate fork "
    "knife glass pan pot sofa desk shelf rug curtain door window floor wall roof stone sand "
    "river lake sea hill mountain island sun moon star cloud rain snow wind storm tree leaf "
    "root flower grass bush seed bee ant spider shark whale eagle owl swan sheep zebra camel "
    "elephant king queen friend child hand foot head nose arm leg city village street bridge "
    "road car ship wheel brick hammer nail rope letter paper pencil story song game"
).split()

ADJECTIVES = (
    "big small old new hot cold fast slow long short tall high low good bad clean dirty dark light "
    "heavy soft hard wet dry happy sad rich poor young strong weak early late open full empty kind "
    "brave quiet loud round flat sharp sweet sour fresh warm cool free busy easy safe"
).split()

NOUNS = sorted({*THINGS, *FOODS, *ANIMALS, *PLACES, *OTHERS})
WEEKDAYS = "Monday Tuesday Wednesday Thursday Friday Saturday Sunday".split()

#: What a list of words may be made of; one of these a list.
LISTED = (NOUNS, NOUNS, NOUNS, NOUNS, COLOURS, ADJECTIVES, COUNTED, JOBS, list(NAMES), TOWNS)
