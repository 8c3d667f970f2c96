"""The client that one writes first, kept to show that the cases find what is missing: it must fail most of them."""

import requests


def follow(url, channels, show):
    cursor = 0
    while True:
        params = {"last_event_id": cursor}
        answer = requests.get(f"{url}/subscribe/{','.join(channels)}", params=params, timeout=60).json()
        if "id" in answer:
            cursor = answer["id"]
            show(answer)


def publish(url, channel, message):
    answer = requests.post(f"{url}/publish/{channel}", json={"message": message}, timeout=60)
    return answer.json()["event_id"]
