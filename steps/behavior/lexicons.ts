/**
 * Small lexicons of names and places, for templates and for the changes `names` and `locations`. They leave out names that are
 * also common words or names of another list, such as Grace, Brown and Turkey.
 */

const words = (text: string): string[] => text.trim().split(/\s+/);

const FEMALE = words(`
  Mary Patricia Jennifer Linda Elizabeth Barbara Susan Jessica Sarah Karen Nancy Lisa Margaret Betty Sandra Ashley Emily Donna
  Michelle Carol Amanda Melissa Deborah Stephanie Rebecca Laura Helen Sharon Cynthia Kathleen Amy Angela Anna Ruth Brenda Pamela
  Nicole Katherine Samantha Janet Rachel Carolyn Emma Maria Diane Julie Fatima Aisha Priya Yuki Ingrid Olga Carmen Leila`);

const MALE = words(`
  James Robert John Michael David William Richard Joseph Thomas Charles Christopher Daniel Matthew Anthony Steven Paul Andrew
  Joshua Kenneth Kevin Brian George Timothy Ronald Edward Jason Jeffrey Ryan Jacob Gary Nicholas Eric Jonathan Stephen Larry
  Justin Brandon Benjamin Samuel Gregory Alexander Patrick Raymond Dennis Tyler Aaron Adam Nathan Henry Peter Kyle Ahmed Omar
  Hiroshi Lars Ivan Carlos Pierre`);

const LAST = words(`
  Smith Johnson Jones Garcia Miller Davis Rodriguez Martinez Hernandez Lopez Gonzalez Wilson Anderson Moore Jackson Perez
  Thompson Harris Sanchez Ramirez Lewis Robinson Torres Nguyen Flores Adams Nelson Rivera Campbell Mitchell Roberts Gomez
  Phillips Evans Diaz Edwards Collins Reyes Stewart Morris Morales Murphy Rogers Gutierrez Ortiz Peterson Richardson Watson
  Chavez Bennett Mendoza Ruiz Hughes Alvarez Castillo Sanders Patel Jimenez Kumar Singh Tanaka Schmidt Ivanov Rossi`);

const CITIES = [
  ...words(`
  London Paris Berlin Madrid Rome Vienna Lisbon Dublin Athens Warsaw Prague Budapest Stockholm Oslo Copenhagen Helsinki Amsterdam
  Brussels Zurich Moscow Istanbul Cairo Lagos Nairobi Johannesburg Mumbai Delhi Bangkok Jakarta Manila Tokyo Seoul Beijing
  Shanghai Melbourne Auckland Toronto Montreal Vancouver Chicago Boston Seattle Houston Denver Dallas Miami Atlanta Philadelphia
  Lima Santiago Karachi Dhaka Tehran`),
  'New York',
  'Los Angeles',
  'San Francisco',
  'Mexico City',
  'Buenos Aires',
  'Rio de Janeiro',
];

const COUNTRIES = [
  ...words(`
  Germany France Italy Spain Portugal Poland Sweden Norway Denmark Finland Austria Switzerland Belgium Greece Ireland Hungary
  Romania Bulgaria Ukraine Russia China Japan India Indonesia Pakistan Bangladesh Vietnam Thailand Malaysia Philippines Iran Iraq
  Egypt Nigeria Kenya Ethiopia Ghana Morocco Algeria Canada Mexico Brazil Argentina Colombia Peru Venezuela Ecuador Bolivia
  Australia`),
  'United States',
  'United Kingdom',
  'South Korea',
  'South Africa',
  'Saudi Arabia',
  'New Zealand',
  'Sri Lanka',
];

/** Lists of values by name. */
export type Lexicons = Record<string, readonly string[]>;

/** Known in every pipeline. The option `lexicons` may replace them. */
export const BUILT_IN: Lexicons = {
  first_name: [...FEMALE, ...MALE],
  female_name: FEMALE,
  male_name: MALE,
  last_name: LAST,
  city: CITIES,
  country: COUNTRIES,
};
