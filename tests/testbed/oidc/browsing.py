"""What a person does in a browser to log in at the provider."""

from playwright.async_api import Page

BUTTON = "Log in with your institution"


async def log_in(page: Page, name: str = "ada") -> None:
    """From our login page to the provider, where nobody has a session yet, and back."""
    await page.get_by_role("link", name=BUTTON).click()
    await page.get_by_placeholder("Enter any login").fill(name)
    await page.get_by_placeholder("and password").fill("anything")
    await page.get_by_role("button", name="Sign-in").click()
    await page.get_by_role("button", name="Continue").click()
