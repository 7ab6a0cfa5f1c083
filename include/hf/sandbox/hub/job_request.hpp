#ifndef HF_SANDBOX_HUB_JOB_REQUEST_HPP
#define HF_SANDBOX_HUB_JOB_REQUEST_HPP

#include <hf/sandbox/error.hpp>
#include <hf/sandbox/options.hpp>

#include <nlohmann/json.hpp>

#include <chrono>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace hf::hub {

/// What job to start (the body of `POST /api/jobs/{namespace}`).
struct job_request {
  /// The program and its first arguments.
  std::vector<std::string> command = {};
  /// Further arguments.
  std::vector<std::string> arguments = {};
  /// Environment variables that the Hub shows.
  std::map<std::string, std::string> environment = {};
  /// Environment variables that it does not show.
  std::map<std::string, std::string> secrets = {};
  /// The hardware's name.
  std::string flavor = "cpu-basic";
  /// A container image, or a Space ("hf.co/spaces/<id>").
  std::string image = {};
  /// Longest life; nothing: the Hub's default.
  std::optional<std::chrono::seconds> timeout = {};
  /// Labels to find the job by.
  std::map<std::string, std::string> labels = {};
  /// What is mounted.
  std::vector<volume> volumes = {};
  /// Ports that the Jobs proxy serves: 1 to 65535 each.
  std::vector<std::uint64_t> expose = {};
};

/// The Space's id when an image names one ("hf.co/spaces/a/b", "huggingface.co/spaces/a/b", either
/// behind "https://"); nothing for an ordinary image.
template <class = void>
[[nodiscard]] std::optional<std::string> space_of_image(std::string_view image) {
  constexpr std::string_view scheme = "https://";
  if (image.substr(0, scheme.size()) == scheme)
    image.remove_prefix(scheme.size());
  for (std::string_view const prefix : {"hf.co/spaces/", "huggingface.co/spaces/"})
    if (image.substr(0, prefix.size()) == prefix)
      return std::string(image.substr(prefix.size()));
  return std::nullopt;
}

/// Refuses labels that the Hub would refuse: keys and values have 1 to 100 (values: 0 to 100)
/// characters of `[A-Za-z0-9._-]`. Throws `errc::invalid_argument`.
template <class = void>
void check_labels(std::map<std::string, std::string> const& labels) {
  auto const fits = [](std::string_view text) {
    constexpr std::string_view plain =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-";
    return text.size() <= 100 && text.find_first_not_of(plain) == std::string_view::npos;
  };
  for (auto const& [key, value] : labels)
    if (key.empty() || !fits(key) || !fits(value))
      throw error(errc::invalid_argument, "label '" + key +
                                              "': keys and values have at most 100 characters of "
                                              "[A-Za-z0-9._-]");
}

/// The JSON body; what is not set is left out. Throws `errc::invalid_argument` for what is not a
/// port.
template <class Json = nlohmann::json>
[[nodiscard]] Json to_json(job_request const& job) {
  for (auto const port : job.expose)
    if (port < 1 || port > 65535)
      throw error(errc::invalid_argument,
                  "expose: " + std::to_string(port) + " is not a port (1 to 65535)");
  Json out{{"command", job.command},
           {"arguments", job.arguments},
           {"environment", job.environment},
           {"flavor", job.flavor}};
  if (auto space = space_of_image(job.image))
    out["spaceId"] = *std::move(space);
  else
    out["dockerImage"] = job.image;
  if (!job.secrets.empty())
    out["secrets"] = job.secrets;
  if (job.timeout)
    out["timeoutSeconds"] = job.timeout->count();
  if (!job.labels.empty())
    out["labels"] = job.labels;
  if (!job.expose.empty())
    out["expose"] = Json{{"ports", job.expose}};
  if (!job.volumes.empty()) {
    auto volumes = Json::array();
    for (auto const& from : job.volumes) {
      Json item{{"type", from.type}, {"source", from.source}, {"mountPath", from.mount_path}};
      if (!from.revision.empty())
        item["revision"] = from.revision;
      if (!from.path.empty())
        item["path"] = from.path;
      if (from.read_only)
        item["readOnly"] = *from.read_only;
      volumes.push_back(std::move(item));
    }
    out["volumes"] = std::move(volumes);
  }
  return out;
}

}  // namespace hf::hub

#endif
