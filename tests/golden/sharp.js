// sharp as a reference: one JSON command a line on stdin, one JSON answer a line on stdout. Pictures are base64.
//   {"op": "pixels", "picture", "sides": [[w, h], ...]}  upright, on white, sRGB, at each size (null: as it is): raw RGB
//   {"op": "coded", "picture", "size": [w, h], "quality"}  raw RGB through mozjpeg as sharp does it, and back
//   {"op": "facts", "picture"}                           what sharp reads in a file, all of its pixels included
const readline = require('node:readline');
const sharp = require('sharp');

sharp.concurrency(1);
sharp.cache(false);

async function pixels(picture, size) {
  let wanted = sharp(picture, { limitInputPixels: false }).autoOrient();
  if (size) wanted = wanted.resize(size[0], size[1], { fit: 'fill', kernel: 'lanczos3', fastShrinkOnLoad: false });
  wanted = wanted.flatten({ background: '#fff' }).toColourspace('srgb');
  const { data, info } = await wanted.raw().toBuffer({ resolveWithObject: true });
  return { width: info.width, height: info.height, bands: info.channels, pixels: data.toString('base64') };
}

async function facts(picture) {
  const read = sharp(picture, { failOn: 'warning' });
  const { format, width, height, space, channels, isProgressive, exif, icc, xmp, iptc, orientation } = await read.metadata();
  await read.stats();
  const kept = Object.entries({ exif, icc, xmp, iptc }).filter(([, block]) => block).map(([name]) => name);
  return { format, width, height, space, channels, isProgressive: !!isProgressive, kept, orientation: orientation ?? null };
}

async function coded(pixels, [width, height], quality) {
  const raw = { width, height, channels: 3 };
  const jpeg = await sharp(pixels, { raw }).jpeg({ quality, mozjpeg: true, chromaSubsampling: '4:2:0' }).toBuffer();
  return { width, height, bands: 3, pixels: (await sharp(jpeg).raw().toBuffer()).toString('base64') };
}

const OPS = {
  coded: async ({ picture, size, quality }) => coded(Buffer.from(picture, 'base64'), size, quality),
  pixels: async ({ picture, sides }) => Promise.all(sides.map((size) => pixels(Buffer.from(picture, 'base64'), size))),
  facts: async ({ picture }) => facts(Buffer.from(picture, 'base64')),
};

async function main() {
  for await (const line of readline.createInterface({ input: process.stdin })) {
    const command = JSON.parse(line);
    let answer;
    try {
      answer = { value: await OPS[command.op](command) };
    } catch (error) {
      answer = { error: error.message };
    }
    process.stdout.write(`${JSON.stringify(answer)}\n`);
  }
}

main();
