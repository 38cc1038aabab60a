// Users, tokens, the audit log, channels and the state of the service. Private to the routes.
#pragma once
#include "web/api.h"

namespace mailhaul::web {

Reply list_users(service::Service& service, const Call& call);
Reply add_user(service::Service& service, const Call& call);
Reply change_user(service::Service& service, const Call& call);
Reply remove_user(service::Service& service, const Call& call);
Reply list_tokens(service::Service& service, const Call& call);
Reply add_token(service::Service& service, const Call& call);
Reply remove_token(service::Service& service, const Call& call);
Reply list_audit(service::Service& service, const Call& call);
Reply get_system(service::Service& service, const Call& call);
Reply change_system(service::Service& service, const Call& call);
Reply list_channels(service::Service& service, const Call& call);
Reply add_channel(service::Service& service, const Call& call);
Reply get_channel(service::Service& service, const Call& call);
Reply change_channel(service::Service& service, const Call& call);
Reply remove_channel(service::Service& service, const Call& call);
Reply test_channel(service::Service& service, const Call& call);

}  // namespace mailhaul::web
