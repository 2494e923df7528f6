using System.Collections.Concurrent;
using System.CommandLine;
using System.Diagnostics;
using System.Globalization;
using System.Text.Json;
using System.Text.Json.Serialization;
using FaceEmbedWorker.Broker;
using FaceEmbedWorker.Faces;
using FaceEmbedWorker.Images;
using FaceEmbedWorker.Jobs;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Logging.Abstractions;
using Microsoft.Extensions.Options;
using Spectre.Console;

namespace FaceEmbedWorker.Commands;

/// <summary>
/// <c>face-embed bench</c>: what a photo costs on this machine, all of it in one run, so that ratios hold where absolute figures do not.
/// </summary>
internal static class BenchCommand
{
    private const int Rounds = 13;

    public static void AddTo(RootCommand root, string[] settings)
    {
        var paths = PicturePaths.Argument(ArgumentArity.ZeroOrMore);
        var seconds = new Option<double>("--seconds") { Description = "Time for each measurement.", HelpName = "N", DefaultValueFactory = _ => 3 };
        Arguments.MustBe(seconds, "0.1 to 3600", text => double.TryParse(text, CultureInfo.InvariantCulture, out var time) && time is >= 0.1 and <= 3600);
        var json = new Option<string?>("--json") { Description = "Write the figures.", HelpName = "FILE" };
        var amqp = new Option<bool>("--amqp") { Description = "Also through the broker of Broker:Uri, in queues of its own." };
        var command = new Command("bench", "Measure what a photo costs on this machine: by stage, in the whole, and through a broker.") { paths, seconds, json, amqp };
        command.SetAction((parsed, cancel) => BenchAsync(settings, parsed.GetRequiredValue(paths), parsed.GetValue(seconds), parsed.GetValue(json), parsed.GetValue(amqp), cancel));
        root.Add(command);
    }

    private static async Task<int> BenchAsync(string[] settings, string[] paths, double seconds, string? json, bool amqp, CancellationToken cancel)
    {
        var (files, missing, _) = PicturePaths.Expand(paths);
        foreach (var (path, _, why) in missing)
        {
            Screen.Complain(path, why);
        }

        if (missing.Count > 0 && files.Count == 0)
        {
            return ExitCode.SomeFailed;
        }

        if (paths.Length > 0 && files.Count == 0)
        {
            Screen.Complain(string.Join(", ", paths), "there are no pictures in there; without a path the sample portrait is measured.");
            return ExitCode.SomeFailed;
        }

        if (json is not null)
        {
            OutputFile.MustBeWritable(json);
        }

        await using var services = Services.Build(settings);
        if (amqp)
        {
            await services.GetRequiredService<TopologyDesk>().ReachAsync(cancel); // a broker that is away or refuses is told before the work
        }

        await using var queues = amqp ? await BenchQueues.OpenAsync(services.GetRequiredService<IOptions<BrokerOptions>>().Value) : null;

        var (phase, phases) = (0, amqp ? 5 : 4);
        Screen.Note(Text($"Measuring for about {(amqp ? 14 : 11) * seconds:0} s."));
        Begin("stages");
        var bench = new Bench(services, TimeSpan.FromSeconds(seconds), cancel);
        var portrait = Sample(services.GetRequiredService<ImageDecoder>(), 600, 800);
        var photos = files.Count > 0 ? await ReadAsync(services, files, cancel) : [portrait];
        if (photos.Length == 0)
        {
            Screen.Complain(string.Join(", ", paths), "none of these is a picture that can be decoded; without a path the sample portrait is measured.");
            return ExitCode.SomeFailed;
        }

        var crops = bench.Crops(photos);
        if (crops.Count == 0)
        {
            Screen.Complain(string.Join(", ", paths), "no face was found in there, and the embedder is measured on faces.");
            return ExitCode.SomeFailed;
        }

        var stages = bench.Stages(photos);
        Begin("embedder");
        var embed = bench.Embed(crops);
        Begin("decoder");
        var decode = bench.Decode(Sample(services.GetRequiredService<ImageDecoder>(), 3024, 4032));
        Begin("pipeline");
        var pipeline = await bench.PipelineAsync(photos, stages.Sum(s => s.CpuMs));
        BenchAmqp? through = null;
        if (queues is not null)
        {
            Begin("through the broker");
            through = await bench.AmqpAsync(photos, pipeline, queues);
        }

        using var process = Process.GetCurrentProcess();
        var figures = new BenchFigures(Machine(), services.GetRequiredService<FaceEmbedder>().Card.Id, services.GetRequiredService<IOptions<JobOptions>>().Value.Slots, stages, embed, decode, pipeline, through, process.PeakWorkingSet64);

        Print(figures);
        if (json is not null)
        {
            OutputFile.Write(json, JsonSerializer.Serialize(figures, BenchJson.Default.BenchFigures));
        }

        return ExitCode.Ok;

        // lines, and no bar: what draws it would be measured with the rest
        void Begin(string what) => Screen.Note($"{++phase} of {phases}: {what} …");
    }

    /// <summary>The pictures that can be decoded; of the others it is told why not.</summary>
    private static async Task<byte[][]> ReadAsync(ServiceProvider services, IReadOnlyList<string> files, CancellationToken cancel)
    {
        var (decoder, maxBytes, photos) = (services.GetRequiredService<ImageDecoder>(), services.GetRequiredService<IOptions<ImageOptions>>().Value.MaxBytes, new List<byte[]>());
        foreach (var file in files)
        {
            try
            {
                var photo = await PictureFile.ReadAsync(file, maxBytes, cancel);
                var encoded = decoder.Open(photo);
                encoded.Decode(encoded.WithinMemory(1), cancel).Dispose(); // a huge JPEG at a fraction, as the worker would
                photos.Add(photo);
            }
            catch (Exception e) when (e is IOException or UnauthorizedAccessException or ImageException)
            {
                Screen.Complain(file, $"{e.Message.TrimEnd('.')}. It is left out.");
            }
        }

        return [.. photos];
    }

    /// <summary>A JPEG of a given size with one face: the sample portrait, filled to the size.</summary>
    private static byte[] Sample(ImageDecoder decoder, int width, int height)
    {
        var encoded = decoder.Open(File.ReadAllBytes(Path.Combine(AppContext.BaseDirectory, "samples", "grace_hopper.jpg")));
        using var picture = encoded.Decode(shrink: 1, CancellationToken.None);
        var scale = Math.Max((double)width / picture.Width, (double)height / picture.Height);
        using var resized = Pixels.Resized(picture, (int)Math.Ceiling(picture.Width * scale), (int)Math.Ceiling(picture.Height * scale), PillowResize.Filter.Bicubic.Name);
        using var filled = Pixels.Cropped(resized, (resized.Width - width) / 2, (resized.Height - height) / 2, width, height);
        return PictureEncoder.Jpeg(filled, quality: 85); // as phones write: colour at half the resolution
    }

    private static string Machine()
    {
        var model = File.Exists("/proc/cpuinfo") ? File.ReadLines("/proc/cpuinfo").FirstOrDefault(l => l.StartsWith("model name", StringComparison.Ordinal))?.Split(':')[1].Trim() : null;
        return $"{model ?? System.Runtime.InteropServices.RuntimeInformation.ProcessArchitecture.ToString()}, {Plural.Of(Environment.ProcessorCount, "core")}";
    }

    private static void Print(BenchFigures figures)
    {
        Screen.Say(Text($"{figures.Machine}; model {figures.Model}; times in ms, CPU of the whole process"));
        var stages = NewTable(Text($"stage, {Plural.Of(figures.Slots, "slot")}"), "ms alone", "CPU ms", "ms in the pipeline");
        foreach (var stage in figures.Stages)
        {
            stages.AddRow(stage.Name, Text($"{stage.Ms:0.00}"), Text($"{stage.CpuMs:0.00}"), Text($"{figures.Pipeline.StagesMs.GetValueOrDefault(stage.Name):0.00}"));
        }

        var embed = NewTable("embedder", "faces/s");
        embed.AddRow("plain graph", Text($"{figures.Embed.PlainPerS:0}"));
        embed.AddRow("prepared graph", Text($"{figures.Embed.PreparedPerS:0} ({figures.Embed.PreparedPerS / figures.Embed.PlainPerS:0.00} times; largest difference {figures.Embed.MaxDifference:0.0e+0})"));
        foreach (var row in figures.Embed.Table)
        {
            embed.AddRow($"{Plural.Of(row.Slots, "slot")}, batch {row.Batch}", Text($"{row.PerS:0}"));
        }

        var whole = NewTable("whole", "");
        whole.AddRow("12 Mpx JPEG, full and at 1/4", Text($"{figures.Decode.FullMs:0.0}, {figures.Decode.ShrunkMs:0.0} ms"));
        whole.AddRow("pipeline", Text($"{figures.Pipeline.PhotosPerS:0.0} photos/s, {figures.Pipeline.CpuMsPerPhoto:0.00} CPU ms a photo ({figures.Pipeline.CpuMsPerPhoto / figures.Pipeline.StagesCpuMs:0.00} of its stages alone)"));
        whole.AddRow("of its time in stages", Text($"{figures.Pipeline.ShareInStages:0.000}"));
        whole.AddRow("managed bytes a photo", Text($"{figures.Pipeline.AllocatedBytesPerPhoto:N0}{(figures.Amqp is { AllocatedBytesPerJob: var bytes } ? Text($"; through the broker {bytes:N0}") : "")}"));
        if (figures.Amqp is { } amqp)
        {
            whole.AddRow("through the broker", Text($"{amqp.JobsPerS:0.0} jobs/s, {amqp.CpuMsPerJob:0.00} CPU ms a job ({amqp.CpuMsPerJob / figures.Pipeline.CpuMsPerPhoto:0.00} of the pipeline's)"));
        }

        if (figures.Pipeline.Photos > 500)
        {
            whole.AddRow("resident MB after 500 photos", Text($"{figures.Pipeline.ResidentBytesAt500 / 1e6:0}"));
        }

        whole.AddRow(Text($"resident MB after {figures.Pipeline.Photos:N0} photos; peak"), Text($"{figures.Pipeline.ResidentBytesAtEnd / 1e6:0}; {figures.PeakResidentBytes / 1e6:0}"));
        Screen.Show(stages);
        Screen.Show(embed);
        Screen.Show(whole);
    }

    private static Table NewTable(params string[] columns) => new Table().SimpleBorder().AddColumns(columns);

    private static string Text(FormattableString text) => text.ToString(CultureInfo.InvariantCulture);

    /// <summary>The measurements; each takes the time that it is given.</summary>
    private sealed class Bench(ServiceProvider services, TimeSpan time, CancellationToken cancel)
    {
        private readonly ImageDecoder decoder = services.GetRequiredService<ImageDecoder>();
        private readonly FaceDetector detector = services.GetRequiredService<FaceDetector>();
        private readonly int detail = services.GetRequiredService<IOptions<FaceOptions>>().Value.DetectionDetail;
        private readonly FaceAligner aligner = services.GetRequiredService<FaceAligner>();
        private readonly FaceEmbedder embedder = services.GetRequiredService<FaceEmbedder>();
        private readonly JobHandler handler = services.GetRequiredService<JobHandler>();
        private readonly int slots = services.GetRequiredService<IOptions<JobOptions>>().Value.Slots;

        /// <summary>
        /// The aligned faces of the photos, as the embedder's input: PRelu's cost depends on the data, and noise flatters it.
        /// </summary>
        public List<float[]> Crops(IEnumerable<byte[]> photos)
        {
            var crops = new List<float[]>();
            foreach (var photo in photos)
            {
                var encoded = decoder.Open(photo);
                using var picture = encoded.Decode(1, cancel);
                foreach (var face in detector.Detect(picture, detail))
                {
                    using var aligned = aligner.Align(picture, face.Box, detector.Locate(picture, face), out _);
                    var input = new float[3 * aligner.Width * aligner.Height];
                    InputPicture.Write(aligned.Pixels, embedder.Card.Input, input);
                    crops.Add(input);
                }
            }

            return crops;
        }

        /// <summary>
        /// Each stage by itself, one after the other; for photos with several faces, of all of them. As many threads as the pipeline has: a core
        /// alone is faster than each of two, and what is asked is what lies between the stages.
        /// </summary>
        public List<BenchStage> Stages(byte[][] photos)
        {
            var opened = photos.Select(photo =>
            {
                var encoded = decoder.Open(photo);
                var picture = encoded.Decode(encoded.WithinMemory(encoded.ShrinkFor(detector.WantedFor(detail, encoded.Width, encoded.Height))), cancel);
                var found = detector.Detect(picture, detail);
                var points = found.ConvertAll(f => detector.Locate(picture, f));
                return (Photo: photo, Picture: picture, Found: found, Points: points, Aligned: found.Zip(points, (f, p) => aligner.Align(picture, f.Box, p, out _)).ToArray());
            }).ToArray();
            List<BenchStage> stages =
            [
                Measure("decode", slots, opened, o =>
                {
                    var encoded = decoder.Open(o.Photo);
                    encoded.Decode(encoded.WithinMemory(encoded.ShrinkFor(detector.WantedFor(detail, encoded.Width, encoded.Height))), cancel).Dispose();
                }),
                Measure("detect", slots, opened, o => detector.Detect(o.Picture, detail).ForEach(f => detector.Locate(o.Picture, f))),
                Measure("align", slots, opened, o =>
                {
                    for (var i = 0; i < o.Points.Count; i++)
                    {
                        aligner.Align(o.Picture, o.Found[i].Box, o.Points[i], out _).Dispose();
                    }
                }),
                Measure("embed", slots, opened, o =>
                {
                    foreach (var aligned in o.Aligned)
                    {
                        embedder.Embed(aligned);
                    }
                }),
            ];
            foreach (var (_, picture, _, _, aligned) in opened)
            {
                picture.Dispose();
                Array.ForEach(aligned, a => a.Dispose());
            }

            return stages;
        }

        /// <summary>Plain against prepared, taken in turn, medians; then slots and batches of the prepared one.</summary>
        public BenchEmbed Embed(List<float[]> crops)
        {
            var faces = services.GetRequiredService<IOptions<FaceOptions>>().Value;
            using var plain = Model.Load(faces.EmbeddingModel, ModelCard.Embedding, prepare: false, cardName: faces.EmbeddingCard);
            using var prepared = Model.Load(faces.EmbeddingModel, ModelCard.Embedding, cardName: faces.EmbeddingCard);
            var rates = (Plain: new List<double>(), Prepared: new List<double>());
            for (var round = 0; round < Rounds; round++)
            {
                rates.Plain.Add(Rate(plain, crops, 1, time / Rounds / 2));
                rates.Prepared.Add(Rate(prepared, crops, 1, time / Rounds / 2));
            }

            var table = new List<BenchBatch>();
            foreach (var batch in new[] { 1, 4, 8 })
            {
                using var model = Batched(faces, batch);
                if (model is null)
                {
                    continue;
                }

                for (var parallel = 1; parallel <= Environment.ProcessorCount; parallel *= 2)
                {
                    table.Add(new BenchBatch(parallel, batch, Rate(model, crops, parallel, time / 3) * batch));
                }
            }

            return new BenchEmbed(Median(rates.Plain), Median(rates.Prepared), crops.Max(crop => Difference(plain, prepared, crop)),
                table.Where(t => t.Batch == 1).ToDictionary(t => t.Slots, t => t.PerS), table);
        }

        /// <summary>Null where the model does not take so many pictures at once.</summary>
        private static Model? Batched(FaceOptions faces, int batch)
        {
            try
            {
                return Model.Load(faces.EmbeddingModel, ModelCard.Embedding, batch: batch, cardName: faces.EmbeddingCard);
            }
            catch (ModelException e) when (batch > 1)
            {
                Screen.Note($"batches of {batch} are left out: {e.Message}");
                return null;
            }
        }

        public BenchDecode Decode(byte[] large)
        {
            BenchStage At(int shrink) => Measure($"1/{shrink}", 1, [large], bytes =>
            {
                var encoded = decoder.Open(bytes);
                encoded.Decode(shrink, cancel).Dispose();
            });

            return new BenchDecode(At(1).Ms, At(2).Ms, At(4).Ms);
        }

        public async Task<BenchPipeline> PipelineAsync(byte[][] photos, double stagesCpu)
        {
            var timings = new ConcurrentBag<ResultTimings>();
            await RunAsync(50);
            timings.Clear();
            long residentAt500 = 0;
            var (count, start, cpu, allocated) = (0, Stopwatch.GetTimestamp(), Environment.CpuUsage.TotalTime, GC.GetTotalAllocatedBytes(precise: true));
            while (Stopwatch.GetElapsedTime(start) < time)
            {
                count += await RunAsync(20 * slots);
                residentAt500 = residentAt500 == 0 && count >= 500 ? Resident() : residentAt500;
            }

            var elapsed = Stopwatch.GetElapsedTime(start);
            var spent = (Environment.CpuUsage.TotalTime - cpu).TotalMilliseconds / count;
            var bytes = (GC.GetTotalAllocatedBytes(precise: true) - allocated) / count;
            var within = timings.SelectMany(t => t.Stages).GroupBy(s => s.Stage, s => s.Milliseconds).ToDictionary(s => s.Key, s => s.Sum() / timings.Count);
            return new BenchPipeline(count / elapsed.TotalSeconds, spent, stagesCpu, within, timings.IsEmpty ? 0 : within.Values.Sum() / timings.Average(t => t.Total), bytes, count, residentAt500 == 0 ? Resident() : residentAt500, Resident());

            async Task<int> RunAsync(int jobs)
            {
                var next = -1;
                await Task.WhenAll(Enumerable.Range(0, slots).Select(_ => Task.Run(async () =>
                {
                    for (var n = Interlocked.Increment(ref next); n < jobs; n = Interlocked.Increment(ref next))
                    {
                        if (await handler.HandleAsync(new EmbedJob("bench", new ImageSource.Data(photos[n % photos.Length])), cancel) is JobOutcome.Completed { Result.TimingsMs: var took })
                        {
                            timings.Add(took);
                        }
                    }
                })));
                return jobs;
            }
        }

        /// <summary>Fills a queue of its own first, so that only the worker is measured, then lets it run dry.</summary>
        public async Task<BenchAmqp> AmqpAsync(byte[][] photos, BenchPipeline pipeline, BenchQueues queues)
        {
            var (options, topology, publisher) = (queues.Options, queues.Topology, queues.Publisher);
            var jobs = Math.Max(20, (int)(pipeline.PhotosPerS * time.TotalSeconds));
            var warm = Math.Min(2 * jobs, 500); // a fresh worker's dear ones
            await Parallel.ForAsync(0, warm + jobs, new ParallelOptions { MaxDegreeOfParallelism = 32, CancellationToken = cancel },
                async (n, token) => await publisher.SubmitAsync(new NewJob($"bench-{n}", "bench", photos[n % photos.Length], "image/jpeg"), token));
            var (handled, start, cpu, allocated, done) = (0, 0L, TimeSpan.Zero, 0L, new TaskCompletionSource<BenchAmqp>());
            using var gate = new IntakeGate(TimeProvider.System);
            using var consumer = new JobConsumer(async (job, stopping) =>
            {
                var outcome = await handler.HandleAsync(job, stopping);
                switch (Interlocked.Increment(ref handled) - warm)
                {
                    case 0:
                        (start, cpu, allocated) = (Stopwatch.GetTimestamp(), Environment.CpuUsage.TotalTime, GC.GetTotalAllocatedBytes(precise: true));
                        break;
                    case var n when n == jobs:
                        done.SetResult(new BenchAmqp(jobs / Stopwatch.GetElapsedTime(start).TotalSeconds, (Environment.CpuUsage.TotalTime - cpu).TotalMilliseconds / jobs, jobs, (GC.GetTotalAllocatedBytes(precise: true) - allocated) / jobs));
                        break;
                }

                return outcome;
            }, new ResultPublisher(options, Options.Create(new ResultOptions()), topology, gate, TimeProvider.System, NullLogger<ResultPublisher>.Instance), topology, gate, new JobTally(TimeProvider.System), new WorkerHealth(gate, topology, TimeProvider.System), options, services.GetRequiredService<IOptions<JobOptions>>(),
                TimeProvider.System, NullLogger<JobConsumer>.Instance);
            try
            {
                await consumer.StartAsync(cancel);
                return await done.Task.WaitAsync(cancel);
            }
            finally
            {
                await consumer.StopAsync(CancellationToken.None); // or it would declare again what is deleted below
            }
        }

        private BenchStage Measure<T>(string name, int parallel, T[] items, Action<T> work)
        {
            Array.ForEach(items, work);
            var counts = new int[parallel];
            var (start, cpu) = (Stopwatch.GetTimestamp(), Environment.CpuUsage.TotalTime);
            Together(parallel, thread =>
            {
                while ((Stopwatch.GetElapsedTime(start) < time / 2 || counts[thread] < 3) && !cancel.IsCancellationRequested)
                {
                    Array.ForEach(items, work);
                    counts[thread] += items.Length;
                }
            });
            cancel.ThrowIfCancellationRequested();
            return new BenchStage(name, Stopwatch.GetElapsedTime(start).TotalMilliseconds * parallel / counts.Sum(), (Environment.CpuUsage.TotalTime - cpu).TotalMilliseconds / counts.Sum());
        }

        /// <summary>Runs a second.</summary>
        private static double Rate(Model model, List<float[]> crops, int parallel, TimeSpan time)
        {
            var counts = new int[parallel];
            var start = Stopwatch.GetTimestamp();
            Together(parallel, p =>
            {
                using var run = model.Rent();
                for (var at = 0; at < run.Input.Length; at += crops[0].Length)
                {
                    crops[at / crops[0].Length % crops.Count].CopyTo(run.Input[at..]);
                }

                do
                {
                    run.Execute();
                    counts[p]++;
                }
                while (Stopwatch.GetElapsedTime(start) < time);
            });
            return counts.Sum() / Stopwatch.GetElapsedTime(start).TotalSeconds;
        }

        /// <summary>Each on a thread of its own; throws what one of them threw.</summary>
        private static void Together(int threads, Action<int> work) =>
            Task.WhenAll(Enumerable.Range(0, threads).Select(n => Task.Factory.StartNew(() => work(n), CancellationToken.None, TaskCreationOptions.LongRunning, TaskScheduler.Default))).GetAwaiter().GetResult();

        private static double Difference(Model plain, Model prepared, float[] crop)
        {
            var (a, b) = (Unit(plain), Unit(prepared));
            return a.Zip(b, (x, y) => Math.Abs(x - y)).Max();

            double[] Unit(Model model)
            {
                using var run = model.Rent();
                crop.CopyTo(run.Input);
                run.Execute();
                var raw = run.Output().ToArray();
                var norm = Math.Sqrt(raw.Sum(v => (double)v * v));
                return Array.ConvertAll(raw, v => v / norm);
            }
        }

        private static double Median(List<double> values) => values.Order().ElementAt(values.Count / 2);

        private static long Resident()
        {
            using var process = Process.GetCurrentProcess();
            return process.WorkingSet64;
        }
    }
}

internal sealed record BenchFigures(string Machine, string Model, int Slots, IReadOnlyList<BenchStage> Stages, BenchEmbed Embed, BenchDecode Decode, BenchPipeline Pipeline, BenchAmqp? Amqp, long PeakResidentBytes);

/// <summary>Milliseconds a photo on one of the threads, and those of the process's CPU.</summary>
internal sealed record BenchStage(string Name, double Ms, double CpuMs);

/// <summary>Faces a second; the largest difference of a unit vector's component.</summary>
internal sealed record BenchEmbed(double PlainPerS, double PreparedPerS, double MaxDifference, IReadOnlyDictionary<int, double> Slots, IReadOnlyList<BenchBatch> Table);

internal sealed record BenchBatch(int Slots, int Batch, double PerS);

internal sealed record BenchDecode(double FullMs, double HalfMs, double ShrunkMs);

internal sealed record BenchPipeline(double PhotosPerS, double CpuMsPerPhoto, double StagesCpuMs, IReadOnlyDictionary<string, double> StagesMs, double ShareInStages, long AllocatedBytesPerPhoto, int Photos, long ResidentBytesAt500, long ResidentBytesAtEnd);

internal sealed record BenchAmqp(double JobsPerS, double CpuMsPerJob, int Jobs, long AllocatedBytesPerJob);

[JsonSourceGenerationOptions(PropertyNamingPolicy = JsonKnownNamingPolicy.SnakeCaseLower, WriteIndented = true)]
[JsonSerializable(typeof(BenchFigures))]
internal sealed partial class BenchJson : JsonSerializerContext;
