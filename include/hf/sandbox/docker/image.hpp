#ifndef HF_SANDBOX_DOCKER_IMAGE_HPP
#define HF_SANDBOX_DOCKER_IMAGE_HPP

#include <hf/sandbox/detail/parse_json.hpp>
#include <hf/sandbox/detail/printable.hpp>
#include <hf/sandbox/docker/engine.hpp>
#include <hf/sandbox/docker/engine_error.hpp>
#include <hf/sandbox/error.hpp>
#include <hf/sandbox/http/fetch.hpp>
#include <hf/sandbox/http/url.hpp>

#include <nlohmann/json.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <utility>

namespace hf::detail::docker {

/// An image's name, and its tag or digest.
struct image_name {
  std::string repository = {};
  /// "latest" when the text named neither tag nor digest; a digest starts with "sha256:".
  std::string tag = {};
};

/// Splits "host:5000/name:tag" or "name@sha256:...": a colon behind the last slash begins the tag.
template <class = void>
[[nodiscard]] image_name parse_image_name(std::string_view text) {
  auto const at = text.find('@');
  if (at != std::string_view::npos)
    return {std::string(text.substr(0, at)), std::string(text.substr(at + 1))};
  auto const slash = text.rfind('/');
  auto const colon = text.find(':', slash == std::string_view::npos ? 0 : slash);
  if (colon == std::string_view::npos)
    return {std::string(text), "latest"};
  return {std::string(text.substr(0, colon)), std::string(text.substr(colon + 1))};
}

/// Reads the lines with which an engine reports a pull: bytes in, progress and errors out.
template <class Json = nlohmann::json>
class pull_progress {
 public:
  /// `report` may be empty.
  pull_progress(std::string image, std::function<void(std::string const&)> report)
      : image_(std::move(image)), report_(std::move(report)) {}

  /// Takes the next bytes of the answer.
  void feed(std::string_view bytes) {
    while (!bytes.empty()) {
      auto const end = bytes.find('\n');
      auto const part = bytes.substr(0, end);
      if (buffer_.size() + part.size() > longest_line)
        throw error(errc::protocol_error,
                    "the Docker engine's report of a pull has an endless line",
                    {.where = hop::docker, .may_have_reached_peer = true});
      buffer_.append(part);
      if (end == std::string_view::npos)
        return;
      finish();
      bytes.remove_prefix(end + 1);
    }
  }
  /// Takes the last line, if it had no end.
  void finish() {
    line(buffer_);
    buffer_.clear();
  }
  /// What went wrong; empty: nothing so far. A pull that fails still answers 200.
  [[nodiscard]] std::string const& failure() const noexcept { return failure_; }

 private:
  void line(std::string_view text) {
    auto const j = parse_json<Json>(text, 1000);
    if (!j.is_object())
      return;
    if (auto const e = j.find("error"); e != j.end() && e->is_string())
      failure_ = peer_text(e->template get_ref<std::string const&>());
    auto const id = j.find("id");
    auto const detail = j.find("progressDetail");
    if (id == j.end() || !id->is_string() || detail == j.end() || !detail->is_object())
      return;
    auto const number = [&](char const* name) {
      auto const it = detail->find(name);
      return it != detail->end() && it->is_number_unsigned()
                 ? (std::min)(it->template get<std::uint64_t>(), largest_layer)
                 : 0;
    };
    // Only downloads: unpacking counts the same bytes again.
    auto const status = j.find("status");
    if (status == j.end() || *status != "Downloading" || number("total") == 0)
      return;
    auto const& name = id->template get_ref<std::string const&>();
    if (layers_.size() >= most_layers && layers_.find(name) == layers_.end())
      return;
    layers_[name] = {(std::min)(number("current"), number("total")), number("total")};
    std::uint64_t current = 0;
    std::uint64_t total = 0;
    for (auto const& layer : layers_) {
      current += layer.second.first;
      total += layer.second.second;
    }
    auto const percent = static_cast<int>(current * 100 / total);
    if (percent == reported_)
      return;
    reported_ = percent;
    if (report_)
      report_("pulling " + image_ + ": " + std::to_string(percent) + " % of " +
              std::to_string(total / 1'000'000) + " MB");
  }

  /// An engine decides what it sends; images have at most 127 layers, and a line is short.
  static constexpr std::size_t longest_line = std::size_t{1} << 20;
  static constexpr std::size_t most_layers = 1024;
  /// A hundred times the sum of the layers has to fit into 64 bits.
  static constexpr std::uint64_t largest_layer = std::uint64_t{1} << 46;

  std::string image_;
  std::function<void(std::string const&)> report_;
  std::string buffer_;
  std::string failure_;
  std::map<typename Json::string_t, std::pair<std::uint64_t, std::uint64_t>> layers_;
  int reported_ = -1;
};

/// What a failed pull means, with the remedy.
template <class = void>
[[nodiscard]] launch_error pull_error(std::string const& image, std::string const& message,
                                      int status = 0) {
  error_details details;
  details.where = hop::docker;
  details.http_status = status;
  details.may_have_reached_peer = true;
  auto const fail = [&](errc code, std::string const& remedy) {
    return launch_error(code, "pull " + image + ": " + message + "; " + remedy, "pull", "",
                        details);
  };
  if (contains(message, "no space left on device"))
    return fail(errc::no_space,
                "the Docker engine's disk is full: free some with 'docker system prune'");
  if (contains(message, "unauthorized") || contains(message, "authentication required") ||
      contains(message, "access denied") || contains(message, "denied:"))
    return fail(errc::not_found,
                "correct the name, or, if the image is private, pull it with 'docker login' and "
                "'docker pull' first");
  if (status == 404 || contains(message, "not found") || contains(message, "manifest unknown"))
    return fail(errc::not_found, "correct the image's name or tag");
  if (contains(message, "invalid reference format"))
    return fail(errc::invalid_argument, "correct the image's name or tag");
  if (contains(message, "toomanyrequests"))
    return fail(errc::rate_limited, "wait, or log in to the registry");
  return fail(errc::launch_failed, "the Docker engine could not get the image from its registry");
}

/// Pulls an image, reporting progress; returns when the engine has it. Throws `launch_error` of the
/// stage "pull". Silence of five minutes ends it; there is no other limit but the caller's.
template <class Json>
void pull_image(engine<Json>& engine, http::transport_ref transport, std::string const& image,
                std::function<void(std::string const&)> const& report, engine_call const& limits) {
  if (report)
    report("pulling " + image);
  auto const name = parse_image_name(image);
  auto const rq = engine.request(
      transport, "POST",
      "/images/create" + http::encode_query({{"fromImage", name.repository}, {"tag", name.tag}}),
      limits);
  pull_progress<Json> progress(image, report);
  http::response answer;
  try {
    answer = http::stream(transport, rq, [&](std::span<std::byte const> data) {
      progress.feed(http::as_text(data));
      return http::flow::more;
    });
  } catch (error const& e) {
    throw engine_unreachable(engine.address(), e);
  }
  progress.finish();
  if (answer.status >= 400)
    throw pull_error(image, engine_message(answer), answer.status);
  if (!progress.failure().empty())
    throw pull_error(image, progress.failure());
}

}  // namespace hf::detail::docker

#endif
