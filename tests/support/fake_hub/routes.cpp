#include "support/fake_hub/state.hpp"

#include <hf/sandbox/http/url.hpp>

#include <algorithm>
#include <charconv>
#include <set>

namespace hf::testing_support::fake {

namespace {

using nlohmann::json;

struct matched {
  hub_route route = hub_route::unknown;
  std::string name_space;
  std::string id;
};

matched match(request const& rq) {
  std::vector<std::string> parts;
  for (std::size_t at = 1; at <= rq.path.size();) {
    auto const end = (std::min)(rq.path.find('/', at), rq.path.size());
    parts.push_back(http::decode_component(rq.path.substr(at, end - at)));
    at = end + 1;
  }
  auto const is = [&](char const* method, std::size_t size) {
    return rq.method == method && parts.size() == size;
  };
  matched out;
  if (parts.size() < 2 || parts[0] != "api")
    return out;
  if (is("GET", 2) && parts[1] == "whoami-v2")
    out.route = hub_route::whoami;
  if (parts[1] == "telemetry")
    out.route = hub_route::telemetry;
  if (parts[1] != "jobs")
    return out;
  if (is("GET", 3) && parts[2] == "hardware") {
    out.route = hub_route::hardware;
    return out;
  }
  if (parts.size() > 2)
    out.name_space = parts[2];
  if (parts.size() > 3)
    out.id = parts[3];
  if (is("POST", 3))
    out.route = hub_route::create;
  else if (is("GET", 3))
    out.route = hub_route::list;
  else if (is("GET", 4))
    out.route = hub_route::inspect;
  else if (is("POST", 5) && parts[4] == "cancel")
    out.route = hub_route::cancel;
  else if (is("PUT", 5) && parts[4] == "labels")
    out.route = hub_route::labels;
  else if (is("GET", 5) && parts[4] == "logs")
    out.route = hub_route::logs;
  else if (is("GET", 5) && parts[4] == "metrics")
    out.route = hub_route::metrics;
  return out;
}

std::string check_query(request const& rq, hub_route route) {
  static std::set<std::string> const stages{"SCHEDULING", "RUNNING", "UPDATING", "COMPLETED",
                                            "CANCELED",   "ERROR",   "DELETED"};
  for (auto const& [key, value] : rq.query) {
    bool good = false;
    if (route == hub_route::list)
      good = (key == "stage" && stages.count(value) != 0) ||
             (key == "label" && value.find('=') != std::string::npos) || key == "cursor";
    if (route == hub_route::logs)
      good = key == "tail" && !value.empty() &&
             value.find_first_not_of("0123456789") == std::string::npos;
    if (!good)
      return "query: " + key + "=" + value;
  }
  return {};
}

struct answer {
  int status = 200;
  json body;
  http::headers fields;
};

answer failure(int status, std::string const& why, char const* code = nullptr) {
  answer out{status, {{"error", why}}, {{"X-Error-Message", why}}};
  if (code != nullptr)
    out.fields.add("X-Error-Code", code);
  return out;
}

answer list_jobs(state& hub, request const& rq, std::string const& name_space) {
  std::set<std::string> stages;
  std::vector<std::pair<std::string, std::string>> labels;
  std::size_t cursor = 0;
  for (auto const& [key, value] : rq.query) {
    if (key == "stage")
      stages.insert(value);
    if (key == "label")
      labels.emplace_back(value.substr(0, value.find('=')), value.substr(value.find('=') + 1));
    if (key == "cursor")
      std::from_chars(value.data(), value.data() + value.size(), cursor);
  }
  json all = json::array();
  for (auto const& j : hub.jobs) {
    auto info = hub.info(*j);
    if (j->name_space != name_space ||
        (!stages.empty() && stages.count(info["status"]["stage"].get<std::string>()) == 0))
      continue;
    bool fits = true;
    for (auto const& [key, value] : labels)
      fits = fits && j->labels.count(key) != 0 && j->labels.at(key) == value;
    // The Hub need not repeat this in lists.
    info.erase("environment");
    if (fits)
      all.push_back(std::move(info));
  }
  answer out;
  out.body = json::array();
  auto const end = (std::min)(all.size(), cursor + hub.options.page_size);
  for (auto i = cursor; i < end; ++i)
    out.body.push_back(all[i]);
  if (end < all.size()) {
    std::string next = "http://" + rq.host + rq.path + "?";
    for (auto const& [key, value] : rq.query)
      if (key != "cursor")
        next += http::encode_component(key) + "=" + http::encode_component(value) + "&";
    out.fields.add("Link", "<" + next + "cursor=" + std::to_string(end) + ">; rel=\"next\"");
  }
  return out;
}

answer create_job(state& hub, request const& rq, std::string const& name_space) {
  auto const body = json::parse(rq.body, nullptr, false);
  std::vector<std::string> flavors;
  for (auto const& item : hardware())
    flavors.push_back(item["name"].get<std::string>());
  if (auto const bad = check_job(body, flavors, hub.options.any_client); !bad.empty()) {
    hub.violation(rq, bad);
    return failure(400, bad);
  }
  {
    std::lock_guard const lock(hub.mutex);
    if (!hub.credit)
      return failure(402, "Payment required: no credit left");
    if (body.contains("volumes"))
      for (auto const& volume : body["volumes"])
        if (hub.volumes.count(volume["type"].get<std::string>() + ":" +
                              volume["source"].get<std::string>()) == 0)
          return failure(404, "Repository not found", "RepoNotFound");
  }
  auto const made = hub.create(name_space, body);
  std::lock_guard const lock(hub.mutex);
  return {200, hub.info(*made), {}};
}

answer label_job(state& hub, request const& rq, job& which) {
  auto const body = json::parse(rq.body, nullptr, false);
  std::string bad = !body.is_object() || body.size() != 1 || !body.contains("labels")
                        ? "labels: {\"labels\": {...}} is needed"
                        : check_labels(body["labels"]);
  if (!bad.empty()) {
    hub.violation(rq, bad);
    return failure(400, bad);
  }
  std::lock_guard const lock(hub.mutex);
  which.labels = body["labels"].get<std::map<std::string, std::string>>();
  return {200, hub.info(which), {}};
}

/// Counts the request against the limit; the fields that tell the client, and whether it is over.
std::pair<http::headers, bool> rate_limit(state& hub) {
  if (hub.options.rate_limit == 0)
    return {{{"RateLimit", "\"api\";r=4999;t=280"},
             {"RateLimit-Policy", "\"fixed window\";\"api\";q=5000;w=300"}},
            false};
  std::lock_guard const lock(hub.mutex);
  auto const now = clock::now();
  if (now - hub.window_start >= hub.options.rate_window) {
    hub.window_start = now;
    hub.window_used = 0;
  }
  auto const left = std::chrono::duration_cast<std::chrono::seconds>(hub.window_start +
                                                                     hub.options.rate_window - now)
                        .count() +
                    1;
  int const remaining = hub.options.rate_limit - ++hub.window_used;
  http::headers fields{
      {"RateLimit",
       "\"api\";r=" + std::to_string((std::max)(0, remaining)) + ";t=" + std::to_string(left)},
      {"RateLimit-Policy", "\"fixed window\";\"api\";q=" + std::to_string(hub.options.rate_limit) +
                               ";w=" + std::to_string(hub.options.rate_window.count())}};
  if (remaining < 0)
    fields.add("Retry-After", std::to_string(left));
  return {fields, remaining < 0};
}

bool download(state& hub, connection& on, request const& rq) {
  static std::string const prefix = "/buckets/huggingface/sbx-server/resolve/";
  static std::string const redirected = "/cdn/sbx-server/";
  if (rq.fields.contains("Authorization")) {
    hub.record(hub_route::download, rq, 400);
    hub.violation(rq, "credentials with a public download");
    return respond_json(on, 400, {{"error", "credentials with a public download"}});
  }
  bool const first = rq.path.compare(0, prefix.size(), prefix) == 0;
  auto const name = rq.path.substr(first ? prefix.size() : redirected.size());
  std::string bytes;
  {
    std::lock_guard const lock(hub.mutex);
    if (std::find(hub.bucket.begin(), hub.bucket.end(), name) != hub.bucket.end())
      bytes = hub.agent_bytes;
  }
  hub.record(hub_route::download, rq, bytes.empty() ? 404 : first ? 302 : 200);
  if (bytes.empty())
    return respond_json(on, 404, {{"error", "Entry not found"}},
                        {{"X-Error-Code", "EntryNotFound"}});
  if (first)
    return respond(on, 302, "", {{"Location", "http://" + rq.host + redirected + name}});
  return respond(on, 200, bytes, {{"Content-Type", "application/octet-stream"}},
                 rq.method == "HEAD");
}

}  // namespace

bool answer_api(state& hub, connection& on, request& rq) {
  if (rq.path.compare(0, 9, "/buckets/") == 0 || rq.path.compare(0, 5, "/cdn/") == 0) {
    if (auto const fault = hub.take_fault(hub_route::download)) {
      hub.record(hub_route::download, rq, fault->status);
      if (fault->what == hub_fault::kind::reset)
        on.reset();
      else
        respond(on, fault->status, fault->body, fault->fields);
      return false;
    }
    return download(hub, on, rq);
  }
  auto const what = match(rq);
  auto const fault = hub.take_fault(what.route);
  if (fault && fault->what == hub_fault::kind::reset) {
    hub.record(what.route, rq, 0);
    on.reset();
    return false;
  }
  if (fault && fault->what == hub_fault::kind::delay) {
    std::unique_lock lock(hub.mutex);
    hub.changed.wait_for(lock, fault->delay, [&] { return hub.stopping; });
  }
  if (what.route == hub_route::telemetry) {
    auto const bad = check_telemetry(rq);
    if (!bad.empty())
      hub.violation(rq, bad);
    hub.record(what.route, rq, bad.empty() ? 200 : 400);
    return respond(on, bad.empty() ? 200 : 400, "", {}, true);
  }

  std::string token;
  std::shared_ptr<job> which;
  {
    std::lock_guard const lock(hub.mutex);
    token = hub.token;
    if (!what.id.empty())
      which = hub.find(what.id);
    if (which && which->name_space != what.name_space)
      which = nullptr;
  }
  answer out;
  auto bad = check_fields(rq, token, hub.options.any_client);
  if (bad.empty())
    bad = check_query(rq, what.route);
  auto const [limit_fields, over_limit] = rate_limit(hub);
  bool const own_space =
      what.name_space.empty() || what.name_space == hub.options.user ||
      std::find(hub.options.organisations.begin(), hub.options.organisations.end(),
                what.name_space) != hub.options.organisations.end();
  if (!bad.empty()) {
    hub.violation(rq, bad);
    out = failure(400, bad);
  } else if (fault && fault->what == hub_fault::kind::answer) {
    hub.record(what.route, rq, fault->status);
    auto fields = fault->fields;
    for (auto const& field : limit_fields)
      if (!fields.contains(field.name))
        fields.add(field.name, field.value);
    return respond(on, fault->status, fault->body, fields);
  } else if (over_limit) {
    out = failure(429, "Too many requests");
  } else if (what.route == hub_route::unknown) {
    hub.violation(rq, "unknown route");
    out = failure(404, "Sorry, we can't find the page you are looking for.");
  } else if (rq.fields.get("Authorization") != "Bearer " + token) {
    out = failure(401, "Invalid credentials in Authorization header");
  } else if (!own_space) {
    out = failure(403, "You do not have access to this namespace");
  } else if (!what.id.empty() && !which) {
    out = failure(404, "Job not found");
  } else {
    switch (what.route) {
      case hub_route::whoami:
        out.body = {
            {"type", "user"}, {"id", "id-of-" + hub.options.user}, {"name", hub.options.user}};
        break;
      case hub_route::hardware:
        out.body = hardware();
        break;
      case hub_route::create:
        out = create_job(hub, rq, what.name_space);
        break;
      case hub_route::labels:
        out = label_job(hub, rq, *which);
        break;
      case hub_route::list: {
        std::lock_guard const lock(hub.mutex);
        out = list_jobs(hub, rq, what.name_space);
        break;
      }
      case hub_route::inspect: {
        std::lock_guard const lock(hub.mutex);
        out.body = hub.info(*which);
        break;
      }
      case hub_route::cancel: {
        std::lock_guard const lock(hub.mutex);
        if (which->ended() || !which->end_stage.empty()) {
          out = failure(409, "Job has already ended");
        } else {
          hub.end(*which, "CANCELED", "");
          out.body = hub.info(*which);
        }
        break;
      }
      case hub_route::logs:
      case hub_route::metrics: {
        bool ended = false;
        {
          std::lock_guard const lock(hub.mutex);
          ended = which->ended();
        }
        if (what.route == hub_route::metrics && ended) {
          out = failure(500, "Internal error");
          break;
        }
        hub.record(what.route, rq, 200);
        if (what.route == hub_route::metrics)
          stream_metrics(hub, on, which);
        else
          stream_logs(hub, on, which,
                      rq.query.empty()
                          ? std::nullopt
                          : std::optional<std::size_t>(std::stoul(rq.query.front().second)));
        return false;
      }
      default:
        break;
    }
  }
  for (auto const& field : limit_fields)
    out.fields.add(field.name, field.value);
  hub.record(what.route, rq, out.status);
  if (fault && fault->what == hub_fault::kind::lose_answer) {
    on.reset();
    return false;
  }
  return respond_json(on, out.status, out.body, out.fields);
}

}  // namespace hf::testing_support::fake
