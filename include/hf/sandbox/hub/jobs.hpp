#ifndef HF_SANDBOX_HUB_JOBS_HPP
#define HF_SANDBOX_HUB_JOBS_HPP

#include <hf/sandbox/error.hpp>
#include <hf/sandbox/http/transport_ref.hpp>
#include <hf/sandbox/http/url.hpp>
#include <hf/sandbox/hub/client.hpp>
#include <hf/sandbox/hub/job.hpp>
#include <hf/sandbox/hub/job_request.hpp>

#include <nlohmann/json.hpp>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace hf::hub {

/// Whom a token belongs to.
struct identity {
  /// The default namespace.
  std::string name = {};
  /// The account's id.
  std::string id = {};
};

/// How long a call may take and how it is cancelled.
struct call_limits {
  /// Cancels the call (`errc::cancelled`).
  stop_token stop = {};
  /// By when the call and its repetitions have to be over; nothing: no total limit.
  std::optional<std::chrono::steady_clock::time_point> deadline = {};
};

/// The Jobs API. Calls block, throw `hf::error` with `hop::hub`, and may come from several threads
/// at once. All but `start` are repeated after transient failures.
template <class Json>
class basic_jobs {
 public:
  /// What the Hub says of a job.
  using job_type = job_info;

  /// Through this client of the Hub.
  explicit basic_jobs(basic_client<Json> through = basic_client<Json>())
      : client_(std::move(through)) {}

  /// The client that it uses.
  [[nodiscard]] basic_client<Json> const& hub_client() const noexcept { return client_; }

  /// Whom the token belongs to (strictly rate-limited by the Hub: cache it).
  [[nodiscard]] identity who_am_i(http::transport_ref through,
                                  call_limits const& limits = {}) const {
    auto const answer = client_.perform_json(
        through, repeatable("find out whose token this is", "GET", "/api/whoami-v2", limits));
    identity out{job_detail::text(answer, "name"), job_detail::text(answer, "id")};
    if (out.name.empty())
      throw error(errc::protocol_error, "the Hugging Face Hub does not say whose token this is",
                  {.where = hop::hub, .may_have_reached_peer = true});
    return out;
  }

  /// Starts a job: one attempt, because a job is billed. See `start_once` for the careful way.
  [[nodiscard]] job_info start(http::transport_ref through, std::string const& name_space,
                               job_request const& job, call_limits const& limits = {}) const {
    auto call = repeatable("start the job", "POST", jobs_path(name_space), limits);
    call.repeatable = false;
    call.body = basic_client<Json>::json_text(call.doing, to_json<Json>(job));
    return parse_job(client_.perform_json(through, call));
  }

  /// Looks at a job. `errc::not_found` when there is none with this id.
  [[nodiscard]] job_info inspect(http::transport_ref through, std::string const& name_space,
                                 std::string const& id, call_limits const& limits = {}) const {
    return parse_job(client_.perform_json(
        through, repeatable("look at job " + id, "GET", job_path(name_space, id), limits)));
  }

  /// Jobs in one of the stages (none given: any) that carry all the labels, from all pages.
  [[nodiscard]] std::vector<job_info> list(http::transport_ref through,
                                           std::string const& name_space,
                                           std::vector<std::string> const& stages,
                                           std::map<std::string, std::string> const& labels,
                                           call_limits const& limits = {}) const {
    std::string target = jobs_path(name_space);
    auto const add = [&](char const* name, std::string const& value) {
      target += target.find('?') == std::string::npos ? '?' : '&';
      target += name;
      target += '=';
      target += http::encode_component(value);
    };
    for (auto const& stage : stages)
      add("stage", stage);
    for (auto const& [key, value] : labels)
      add("label", key + "=" + value);

    std::vector<job_info> out;
    for (int page = 0; !target.empty(); ++page) {
      if (page == max_pages)
        throw error(errc::protocol_error, "the Hugging Face Hub's list of jobs does not end",
                    {.where = hop::hub, .may_have_reached_peer = true});
      auto call = repeatable("list jobs", "GET", target, limits);
      call.limit = list_limit;
      auto const answer = client_.perform(through, call);
      auto const body = client_.parse_json(call.doing, answer);
      if (!body.is_array())
        throw error(errc::protocol_error, "the Hugging Face Hub's list of jobs is not a list",
                    {.where = hop::hub, .may_have_reached_peer = true});
      for (auto const& item : body) {
        auto job = parse_job(item);
        if (matches(job, stages, labels))
          out.push_back(std::move(job));
      }
      target = next_page(answer.fields);
    }
    return out;
  }

  /// Ends a job. One that has ended already, or is gone, is not an error.
  void cancel(http::transport_ref through, std::string const& name_space, std::string const& id,
              call_limits const& limits = {}) const {
    auto const call =
        repeatable("cancel job " + id, "POST", job_path(name_space, id) + "/cancel", limits);
    try {
      client_.perform(through, call);
    } catch (error const& failure) {
      if (failure.kind() == errc::not_found)
        return;
      // Whatever the Hub calls "already ended" (400, 409, 410), the job itself tells.
      if (failure.http_status() < 400 || failure.http_status() >= 500 ||
          failure.kind() == errc::unauthenticated || failure.kind() == errc::permission_denied ||
          failure.kind() == errc::rate_limited)
        throw;
      bool ended = false;
      try {
        ended = inspect(through, name_space, id, limits).ended();
      } catch (error const& second) {
        ended = second.kind() == errc::not_found;
      }
      if (!ended)
        throw;
    }
  }

  /// Replaces all labels of a job.
  job_info set_labels(http::transport_ref through, std::string const& name_space,
                      std::string const& id, std::map<std::string, std::string> const& labels,
                      call_limits const& limits = {}) const {
    check_labels(labels);
    auto call = repeatable("label job " + id, "PUT", job_path(name_space, id) + "/labels", limits);
    call.body = basic_client<Json>::json_text(call.doing, Json{{"labels", labels}});
    return parse_job(client_.perform_json(through, call));
  }

  /// What jobs can run on, and what it costs.
  [[nodiscard]] std::vector<hardware> list_hardware(http::transport_ref through,
                                                    call_limits const& limits = {}) const {
    std::vector<hardware> out;
    auto const answer = client_.perform_json(
        through, repeatable("list hardware", "GET", "/api/jobs/hardware", limits));
    for (auto const& item : answer)
      if (item.is_object() && out.size() < max_hardware)
        out.push_back(parse_hardware(item));
    return out;
  }

  /// "/api/jobs/{namespace}/{id}".
  [[nodiscard]] static std::string job_path(std::string const& name_space, std::string const& id) {
    return jobs_path(name_space) + "/" + http::encode_component(id);
  }

 private:
  static constexpr int max_pages = 1000;
  static constexpr std::size_t max_hardware = 1000;
  /// A page may hold a hundred jobs whose agents travel in their arguments.
  static constexpr std::uint64_t list_limit = std::uint64_t{256} << 20;

  [[nodiscard]] static std::string jobs_path(std::string const& name_space) {
    return "/api/jobs/" + http::encode_component(name_space);
  }

  [[nodiscard]] static api_call repeatable(std::string doing, std::string method,
                                           std::string target, call_limits const& limits) {
    api_call call;
    call.doing = std::move(doing);
    call.method = std::move(method);
    call.target = std::move(target);
    call.stop = limits.stop;
    call.deadline = limits.deadline;
    return call;
  }

  [[nodiscard]] static bool matches(job_info const& job, std::vector<std::string> const& stages,
                                    std::map<std::string, std::string> const& labels) {
    bool stage_fits = stages.empty();
    // The Hub's filter has no word for UPDATING, which is a way of running.
    for (auto const& stage : stages)
      stage_fits = stage_fits || job.stage == stage || (stage == "RUNNING" && job.running());
    for (auto const& [key, value] : labels) {
      auto const it = job.labels.find(key);
      if (it == job.labels.end() || it->second != value)
        return false;
    }
    return stage_fits;
  }

  /// The target of `Link: <url>; rel="next"`; empty when there is none.
  [[nodiscard]] static std::string next_page(http::headers const& fields) {
    for (auto const& field : fields) {
      if (!http::iequals(field.name, "Link"))
        continue;
      std::string_view rest(field.value);
      while (!rest.empty()) {
        auto const open = rest.find('<');
        auto const close = rest.find('>', open == std::string_view::npos ? rest.size() : open);
        if (close == std::string_view::npos)
          break;
        auto const target = rest.substr(open + 1, close - open - 1);
        rest.remove_prefix(close + 1);
        auto const parameters = rest.substr(0, rest.find('<'));
        if (parameters.find("rel=\"next\"") != std::string_view::npos ||
            parameters.find("rel=next") != std::string_view::npos)
          return std::string(target);
      }
    }
    return {};
  }

  basic_client<Json> client_;
};

/// The Jobs API as everybody uses it.
using jobs = basic_jobs<nlohmann::json>;

}  // namespace hf::hub

#endif
