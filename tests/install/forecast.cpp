/* forecast.cpp: the C API from C++17: several fields a call, three at once. Reads (count, past, S, S)
 * from standard input, writes (count, S, S): float32. forecast RUN RE SEED MEMBER COUNT */
#include <flexhpc.h>

#include <cstdio>
#include <memory>
#include <string>
#include <vector>

int main(int argc, char **argv)
{
    if (argc != 6) return 2;
    flexhpc_options options{};
    options.batch = 3;
    flexhpc_model *opened = nullptr;
    flexhpc_info is{};
    const bool good = flexhpc_open(argv[1], &options, &opened) == FLEXHPC_OK;
    const auto close = [](flexhpc_model *model) { flexhpc_close(&model); };
    const std::unique_ptr<flexhpc_model, decltype(close)> model(opened, close);
    if (!good || flexhpc_describe(model.get(), &is) != FLEXHPC_OK)
        return std::fprintf(stderr, "forecast: %s\n", flexhpc_error()), 1;

    const flexhpc_draw draw{std::stod(argv[2]), std::stoull(argv[3]),
                            static_cast<uint32_t>(std::stoul(argv[4]))};
    const int64_t count = std::stoll(argv[5]), pixels = is.side * is.side;
    std::vector<float> past(static_cast<size_t>(count * is.past * pixels));
    std::vector<float> next(static_cast<size_t>(count * pixels));
    if (std::fread(past.data(), sizeof(float), past.size(), stdin) != past.size()) return 1;
    if (flexhpc_forecast(model.get(), &draw, count, is.past, is.side, is.side, past.data(),
                         next.data()) != FLEXHPC_OK)
        return std::fprintf(stderr, "forecast: %s\n", flexhpc_error()), 1;
    return std::fwrite(next.data(), sizeof(float), next.size(), stdout) == next.size() ? 0 : 1;
}
