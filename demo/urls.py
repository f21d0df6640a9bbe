from django.contrib.auth.views import LoginView, LogoutView
from django.contrib.staticfiles.urls import staticfiles_urlpatterns
from django.urls import path

from demo import views

urlpatterns = [
    path("", views.board, name="board"),
    path("vote/", views.vote, name="vote"),
    path("push/", views.push, name="push"),
    path("channels/<path:channel_id>/", views.channel, name="channel"),
    path(
        "login/",
        LoginView.as_view(
            template_name="demo/login.html", redirect_authenticated_user=True
        ),
        name="login",
    ),
    path("logout/", LogoutView.as_view(), name="logout"),
    # Plain daphne and uvicorn do not serve them by themselves, as runserver does.
    *staticfiles_urlpatterns(),
]
