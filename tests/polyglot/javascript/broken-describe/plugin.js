// A validator that cannot say who it is, for the tests: does the refusal tell the author why?

import { description } from './caelum.js';

export const validator = {
  describe() {
    return { about: description({}), phases: [], evidenceFormats: missing };
  },

  judge() {
    throw new Error('nobody comes here');
  },
};
