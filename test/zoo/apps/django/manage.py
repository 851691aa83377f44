"""Django's own admin over SQLite, set up as docs/apps.md says: `manage.py migrate`, `manage.py runserver`."""

import os
import sys

from django.conf import settings
from django.contrib import admin
from django.core.management import execute_from_command_line
from django.http import HttpResponse
from django.urls import path

APPS = ("admin", "auth", "contenttypes", "sessions", "messages", "staticfiles")
settings.configure(
    SECRET_KEY="for-a-test",
    ALLOWED_HOSTS=[os.environ.get("SLUICE_HOSTNAME", "")],
    SECURE_PROXY_SSL_HEADER=("HTTP_X_FORWARDED_PROTO", "https"),
    DATABASES={
        "default": {
            "ENGINE": "django.db.backends.sqlite3",
            "NAME": os.path.join(os.environ["DATA"], "db.sqlite3"),
            "OPTIONS": {"timeout": 30},
        }
    },
    DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
    INSTALLED_APPS=[f"django.contrib.{name}" for name in APPS],
    MIDDLEWARE=[
        "django.middleware.security.SecurityMiddleware",
        "django.contrib.sessions.middleware.SessionMiddleware",
        "django.middleware.common.CommonMiddleware",
        "django.middleware.csrf.CsrfViewMiddleware",
        "django.contrib.auth.middleware.AuthenticationMiddleware",
        "django.contrib.messages.middleware.MessageMiddleware",
    ],
    TEMPLATES=[
        {
            "BACKEND": "django.template.backends.django.DjangoTemplates",
            "APP_DIRS": True,
            "OPTIONS": {
                "context_processors": [
                    "django.template.context_processors.request",
                    "django.contrib.auth.context_processors.auth",
                    "django.contrib.messages.context_processors.messages",
                ]
            },
        }
    ],
    STATIC_URL="/static/",
    ROOT_URLCONF=__name__,
)
urlpatterns = [path("ready", lambda request: HttpResponse("ready"))]

if __name__ == "__main__":
    import django

    django.setup()
    urlpatterns.append(path("admin/", admin.site.urls))
    execute_from_command_line(sys.argv)
