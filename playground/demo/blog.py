"""Nothing in, 10 users and their 100 posts out: the list behind the demo's `posts { user }` query."""

from types import MappingProxyType
from typing import TypedDict

from playground.demo.draws import draw_between, draw_one


class User(TypedDict):
    """What `GET /users/{user_id}` answers."""

    id: int
    name: str
    username: str
    email: str
    phone: str
    website: str
    companyId: int


class Post(TypedDict):
    """What `GET /posts/{post_id}` answers."""

    id: int
    userId: int
    title: str
    body: str


NAMES = (
    "Ada Winter",
    "Ben Osei",
    "Clara Holm",
    "Diego Ruiz",
    "Esra Yilmaz",
    "Finn Larsen",
    "Gia Rossi",
    "Hana Sato",
    "Ivan Petrov",
    "Jade Collins",
)
TOPICS = (
    "bread",
    "bicycles",
    "balconies",
    "night trains",
    "old maps",
    "houseplants",
    "radios",
    "stone walls",
    "tea",
    "weather",
)
TITLES = (
    "What I learned about {}",
    "A short history of {}",
    "Five questions about {}",
    "A year with {}",
    "Why I write about {}",
    "{}: a beginner's list",
    "Mistakes with {}",
    "The quiet side of {}",
    "Letters about {}",
    "One more word on {}",
)
OPENINGS = (
    "A neighbour asked me about {} last week, and I had no quick answer.",
    "Most books on {} begin in the wrong place.",
    "It took me a long time to like {}.",
    "I keep a small notebook about {}, and this is its best page.",
)
CLOSINGS = (
    "Start small, write down what you see, and come back in a month.",
    "The cheap way was the better one, at least for me.",
    "If you know more than I do, please tell me.",
    "Next time there will be pictures.",
)
POSTS_PER_USER = 10


def _write_user(user_id: int) -> User:
    name = NAMES[user_id - 1]
    username = name.split()[0].lower()
    return User(
        id=user_id,
        name=name,
        username=username,
        email=f"{username}@example.org",
        phone=f"+44 20 7946 {draw_between(0, 999, 'phone', user_id):04}",  # a range set aside for fiction
        website=f"{username}.example.org",
        companyId=draw_between(1, 3, "company", user_id),
    )


def _write_post(post_id: int) -> Post:
    place = post_id - 1
    user_place = place // POSTS_PER_USER
    topic = TOPICS[(place + user_place) % len(TOPICS)]  # shifts with each user, so that no title comes twice
    title = TITLES[place % len(TITLES)].format(topic)
    opening = draw_one(OPENINGS, "opening", post_id).format(topic)
    return Post(
        id=post_id,
        userId=user_place + 1,
        title=title[0].upper() + title[1:],
        body=f"{opening} {draw_one(CLOSINGS, 'closing', post_id)}",
    )


# Keyed by the id as it stands in a URL.
USERS = MappingProxyType({str(number): _write_user(number) for number in range(1, len(NAMES) + 1)})
POSTS = MappingProxyType({str(number): _write_post(number) for number in range(1, len(NAMES) * POSTS_PER_USER + 1)})
