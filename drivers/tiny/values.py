"""What fills the slots: words, made-up words, identifiers, terms, definitions, facts."""

import random

NOUNS = """anchor apple archive atlas avalanche badge bakery balcony barge basket beacon bell bench berry bicycle blanket boat book
border bottle branch bridge broom bucket button cabin cable calendar camera candle canoe canyon carpet castle cave cellar chain chair
channel chapel chart cherry chimney choir circle city clerk cliff cloak cloud coast coat column comet compass concert copper cottage
cotton council crane crystal cup current curtain cushion desert desk diary dish doctor dolphin door dragon drawer drum dust eagle
engine envelope factory falcon farm feather fence ferry festival field fig filter flag flame flute fog forest fork fountain fox
frost garden gate ghost glass glove goat grain granite grape guest guitar hall hammer harbour harp hat hedge helmet herb hill honey
horn horse hotel island ivory jacket jar jewel journal judge jug kettle key king kitchen kite knife ladder lake lamp lantern lemon
letter library lion lizard lock loom magnet mail map marble market mask meadow medal melon mill mint mirror monk moon mountain
mouse museum needle nest net night notebook novel oak oasis ocean office olive onion orchard orchestra oven paddle palace paper
parcel park path peach pear pen pepper piano pillow pilot pine pipe planet plate plum pocket poem pond poster potato prince prism
pump puzzle queen rabbit radio raft rain rake razor recipe reef ribbon rice river road robot rocket roof rope rose ruby saddle sail
sailor saw scarf school screw seed shell shield shirt shoe shovel silk silver singer sister skull sledge smoke snail soap soldier
soup spice spider spoon spring square stable stage star statue stone storm stove street student sugar suit summer sun swan sword
table tailor tank tent theatre thread tiger tile timber tower toy trail train treasure tree trumpet tunnel turtle umbrella uncle
valley vase velvet village vine volcano wagon wall wallet walnut warden wasp watch water wax weaver whale wheat wheel whistle
window winter witness wolf wood wool worker yard zebra agent buffer bug build cache channel client cluster code command commit
compiler config console context counter cursor daemon database deadline deploy device directory disk driver editor endpoint error
event exception field file firewall folder frame function gateway graph handler hash header heap host image index input instance
interface interrupt invoice job journal kernel keyboard lease library limit link list loader lock log loop machine mailbox manifest
memory message method meter mirror module monitor mutex network node object output packet page parser partition password patch path
pipe pixel plugin pointer policy pool port printer priority process program prompt protocol proxy quantum query queue quota record
register release replica report request reset result ring role root route router rule runtime sandbox scheduler schema script
sector semaphore sensor server service session shard shell signal snapshot socket stack stream string switch symbol syscall system
table tag task template terminal test thread ticket timeout timer token tool trace tree trigger type update upload user value
vector version volume wallet watchdog webhook widget worker zone""".split()
ADJECTIVES = """old new red blue green black white grey brown golden silver large small long short tall wide narrow deep cold warm hot
wet dry soft hard heavy light dark bright quiet loud fast slow early late first last second third next local remote public private
secret shared open closed broken empty full clean dirty rough smooth sharp round flat hidden common rare simple strange young
ancient modern foreign royal rural urban northern southern eastern western inner outer upper lower main spare daily weekly
nightly annual internal external static dynamic active idle virtual physical default custom safe fragile rusty wooden iron
plastic woolen sour sweet bitter salty fresh ripe""".split()
VERBS = """holds keeps carries moves opens closes starts stops sends reads writes stores returns uses needs finds checks counts
covers crosses drives feeds fills follows guards guides heats cools joins leaves lifts lights marks measures meets names orders
paints passes pays plans pulls pushes reaches receives repairs replaces rings rules saves sells serves shows signs splits surrounds
teaches tests touches trades turns visits wakes warns washes watches wears weighs protects produces controls collects delivers
describes blocks builds burns buys catches changes cleans copies cuts delays drops evicts forgets frees limits locks maps merges
notifies owns polls queues resets restarts schedules signals spawns traces unlocks updates validates waits_for""".split()
PLACES = """in on under behind near above below beside inside outside around across through along against before after
during without within between towards beyond""".split()
ENDS = ("every day", "at night", "in winter", "once a year", "for {n} days", "in {n} minutes", "after {n} tries", "since {y}", "by hand",
        "only once", "at any time", "in the morning", "until {y}", "at the same time", "more than {n} times", "if nobody is there",
        "so that it lasts longer", "because it is cheap", "but never on Sunday", "when the {noun} is {adj}", "unless it is {adj}",
        "while the {noun} waits", "and then it stops", "as long as the {noun} is {adj}", "which costs {n} coins", "with great care")  # fmt: skip
NAMES = """Anna Bert Carla David Emma Frank Greta Hans Ines Jakob Karin Luis Maria Nils Olaf Petra Quentin Rosa Sven Tina Ulf Vera
Walter Xenia Yusuf Zoe Amir Bianca Cem Dora Elif Felix Gina Hugo Ivan Julia Kofi Leo Mona Noah Omar Paul Rita Sam Tara Uma Victor
Wendy Ada Alan Grace Linus Ken Dennis Barbara Edsger Donald Smith Miller Jones Brown Weber Rossi Silva Tanaka Novak Berlin Paris
Oslo Lima Cairo Tokyo Dublin Prague Quito Turin Ghent Basel Leeds Monday Tuesday Wednesday Thursday Friday Saturday Sunday January
March April July August October""".split()
SYLLABLES = """ba be bi bo bu ca ce co cu da de di do du fa fe fi fo ga ge go gu ha he hi ho ja jo ka ke ki ko la le li lo lu ma me mi
mo mu na ne ni no nu pa pe pi po ra re ri ro ru sa se si so su ta te ti to tu va ve vi vo wa we wi za ze zo an ar el en er il in ir
on or um un ack ell ent est ick ing ist ock old ond ough unk ash atch ight oon owl ump urst tion ment ness ple gle stra spre tri
gro blo cra dri fle glo pla pro qua scu sho ski slo smo sna spo sta swi thi thu tra tri twi wha whi wri kno phe rhy chro psy""".split()
ERRORS = """EPIPE EPERM ENOENT ESRCH EINTR EIO ENXIO E2BIG EBADF ECHILD ENOMEM EFAULT EBUSY EEXIST EXDEV ENODEV ENOTDIR EINVAL ENFILE
EMFILE EFBIG ESPIPE EROFS EMLINK EDOM SIGINT SIGQUIT SIGILL SIGABRT SIGKILL SIGSEGV SIGPIPE SIGALRM SIGTERM SIGCHLD SIGSTOP
O_APPEND O_CREAT PATH HOME PROT_READ MAP_SHARED AF_UNIX SOCK_STREAM CLOCK_MONOTONIC HTTP TCP UDP DNS RAM CPU GPU BIOS UUID JSON
YAML TOML UTF-8 ASCII""".split()


def made_up(rng: random.Random) -> str:
    """A word nobody has seen."""
    return "".join(rng.choices(SYLLABLES, k=rng.choice((2, 2, 3, 3, 4))))


def word(rng: random.Random) -> str:
    """A noun, made up one time in four."""
    return made_up(rng) if rng.random() < 0.25 else rng.choice(NOUNS)


def identifier(rng: random.Random) -> str:
    """A name from some program or log."""
    a, b = word(rng), word(rng)
    return rng.choice((
        rng.choice(ERRORS), f"{a}_{b}", f"{a}_{b}".upper(), f"{a}-{rng.randint(1, 99)}", a.capitalize() + b.capitalize(), f"{a}.{b}",
        f"{a}{rng.randint(0, 99)}", f"--{a}-{b}", f"{a}()", f"{a}_{b}_{word(rng)}", "E" + made_up(rng).upper(), "SIG" + rng.choice(SYLLABLES).upper(),
        "".join(rng.choices("ABCDEFGHIJKLMNOPQRSTUVWXYZ", k=rng.randint(2, 5))), f"/{a}/{b}", f"{rng.choice(SYLLABLES)}{rng.randint(1,9)}{rng.choice(SYLLABLES)}",
    ))  # fmt: skip


def phrase(rng: random.Random) -> str:
    """A noun phrase without an article."""
    kind = rng.random()
    if kind < 0.3:
        return word(rng)
    if kind < 0.5:
        return f"{rng.choice(ADJECTIVES)} {word(rng)}"
    if kind < 0.75:
        return f"{word(rng)} {word(rng)}"
    if kind < 0.85:
        return f"{word(rng)} of {rng.choice(('the ', '', 'a '))}{word(rng)}"
    return f"{rng.choice(ADJECTIVES)} {word(rng)} {word(rng)}"


def term(rng: random.Random) -> str:
    """What one looks up: a word, an identifier, two or three words."""
    kind = rng.random()
    if kind < 0.35:
        return identifier(rng)
    return word(rng) if kind < 0.7 else phrase(rng)


def token(rng: random.Random) -> str:
    """A number, date, code, name: what facts end with."""
    return rng.choice((
        str(rng.randint(0, 99999)), rng.choice(NAMES), f"{rng.choice(NAMES)} {rng.choice(NAMES)}", identifier(rng), f"{rng.randint(1, 23)}:{rng.randint(10, 59)}",
        f"{rng.randint(1, 9)},{rng.randint(100, 999)}", f"{rng.randint(1, 31)} {rng.choice(NAMES)}", phrase(rng), rng.choice(ADJECTIVES), "%x" % rng.getrandbits(24),
        f"{rng.choice('ABCDEFGHKLMNPQRSTVWXYZ')}{rng.randint(1, 99)}", f"{rng.randint(1, 900)} {word(rng)}s", f"{rng.randint(0, 9)}.{rng.randint(0, 99)}", f"the {phrase(rng)}",
    ))  # fmt: skip


def topic_of_fact(rng: random.Random) -> str:
    """What a remembered fact is about."""
    return rng.choice((f"the {phrase(rng)}", f"my {phrase(rng)}", f"our {phrase(rng)}", f"the {phrase(rng)}", rng.choice(NAMES), identifier(rng), f"{rng.choice(NAMES)}'s {word(rng)}",
                       f"the {word(rng)} of {rng.choice(NAMES)}"))  # fmt: skip


def fact(rng: random.Random, topic: str | None = None) -> str:
    """A statement to keep, without its full stop."""
    about = topic or topic_of_fact(rng)
    verb = rng.choice(VERBS).replace("_", " ")
    tail = rng.choice((
        f"is {token(rng)}", f"is {token(rng)}", f"is called {token(rng)}", f"was {token(rng)}", f"{verb} {token(rng)}", f"{verb} the {phrase(rng)}", f"is {rng.choice(PLACES)} the {phrase(rng)}",
        f"must be {rng.choice(ADJECTIVES)}", f"costs {rng.randint(1, 999)}", f"starts at {rng.randint(1, 23)}:{rng.randint(10, 59)}", f"lives in {token(rng)}", f"needs {token(rng)}", f"has {token(rng)}",
        f"likes {phrase(rng)}", f"moved to {token(rng)}", f"runs on {token(rng)}", f"belongs to {rng.choice(NAMES)}", f"is not {rng.choice(ADJECTIVES)}", f"is {rng.choice(ADJECTIVES)} {ending(rng)}",
    ))  # fmt: skip
    return f"{about} {tail}"


def ending(rng: random.Random) -> str:
    """When, how long, why."""
    return rng.choice(ENDS).format(
        n=rng.randint(2, 90), y=rng.randint(1500, 2030), noun=word(rng), adj=rng.choice(ADJECTIVES)
    )


def note(rng: random.Random) -> str:
    """What somebody asks to remember: mostly a fact, sometimes loose words or an order."""
    kind = rng.random()
    if kind < 0.7:
        return fact(rng)
    if kind < 0.8:
        return f"{rng.choice(('call', 'buy', 'send', 'meet', 'visit', 'pay', 'bring', 'check', 'fix'))} {token(rng)} {ending(rng)}"
    if kind < 0.9:
        return " ".join(token(rng) for _ in range(rng.randint(2, 4)))
    return f"{rng.choice(('we', 'they', 'you', 'people', 'all'))} {rng.choice(('meet', 'eat', 'go', 'leave', 'sing', 'work'))} {rng.choice(PLACES)} {token(rng)} {ending(rng)}"


def definition(rng: random.Random, what: str) -> str:
    """A glossary line."""
    body = rng.choice((
        f"{rng.choice(('a', 'the', 'an old', 'any', 'one'))} {phrase(rng)} that {rng.choice(VERBS).replace('_', ' ')} {rng.choice(('the', 'a'))} {phrase(rng)}", f"{word(rng)} for {word(rng)}s",
        f"{rng.choice(ADJECTIVES)} {word(rng)} {rng.choice(PLACES)} the {phrase(rng)}", f"the {word(rng)} is {rng.choice(ADJECTIVES)}", f"no {word(rng)} {rng.choice(PLACES)} {word(rng)}", f"how many {word(rng)}s a {word(rng)} {rng.choice(VERBS).replace('_', ' ')}",
        f"{rng.choice(VERBS).replace('_', ' ')} {token(rng)} {ending(rng)}", f"{phrase(rng)}, {phrase(rng)} and {phrase(rng)}",
    ))  # fmt: skip
    return rng.choice(
        (
            f"{what}: {body}",
            f"{what}: {body}",
            body,
            f"{what} is {body}",
            f"{what} - {body}",
            f"{what}: {body}; see {term(rng)}",
        )
    )
